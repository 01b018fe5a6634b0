"""The database counts every commit that may end a right to view readings, whatever code made the change."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.utils import timezone

from devices.models import AccessVersion, AccountTag, ApiToken, Device, DeviceTag, Tag
from devices.tests.fixtures import staff_client, token_client

pytestmark = pytest.mark.django_db(transaction=True)


def viewer():
    return User.objects.get(username="viewer")


def change_password():
    user = viewer()
    user.set_password("something else")
    user.save()


def leave_group():
    viewer().groups.clear()


def take_from_group():
    Group.objects.get(name="watchers").permissions.clear()


def rename_permission_in_sql():
    with connection.cursor() as cursor:
        cursor.execute("UPDATE auth_permission SET codename = 'other' WHERE codename = 'view_reading'")


# In this order, so that each statement still changes a row.
REVOCATIONS = {
    "a key rotated without overlap": lambda device: device.rotate_key(overlap=timedelta(0), now=timezone.now()),
    "an overlap cut short": lambda device: Device.objects.update(retiring_key_expires_at=timezone.now()),
    "a device deactivated": lambda device: Device.objects.update(is_active=False),
    "an account deactivated": lambda device: User.objects.filter(username="viewer").update(is_active=False),
    "an account that is no longer staff": lambda device: User.objects.filter(username="viewer").update(is_staff=False),
    "a password changed": lambda device: change_password(),
    "a permission taken": lambda device: viewer().user_permissions.clear(),
    "a group left": lambda device: leave_group(),
    "a permission taken from a group": lambda device: take_from_group(),
    "a permission changed in SQL": lambda device: rename_permission_in_sql(),
    "a session emptied": lambda device: Session.objects.update(session_data=""),
    "a session ended": lambda device: Session.objects.all().delete(),
    "a token expired": lambda device: ApiToken.objects.update(expires_at=timezone.now()),
    "a token deleted": lambda device: ApiToken.objects.all().delete(),
    "an account limited": lambda device: AccountTag.objects.create(user=viewer(), tag=Tag.objects.get()),
    "a tag given to a device": lambda device: DeviceTag.objects.create(device=device, tag=Tag.objects.get()),
    "a tag taken from a device": lambda device: DeviceTag.objects.all().delete(),
    "an account deleted": lambda device: viewer().delete(),
    "a device deleted": lambda device: (device.state.delete(), device.delete()),
}
NO_REVOCATIONS = {
    "a token used": lambda device: ApiToken.objects.update(last_used_at=timezone.now()),
    "a token made": lambda device: token_client("read", name="second"),
    "a device renamed": lambda device: Device.objects.update(name="South window"),
    "a device saved as it was": lambda device: device.save(),
    "a device registered": lambda device: Device.objects.register(device_id="mote-2"),
    "a sign-in noted": lambda device: User.objects.update(last_login=timezone.now()),
    "a session begun": lambda device: Session.objects.create(session_key="x" * 32, expire_date=timezone.now()),
    "a permission given": lambda device: viewer().user_permissions.add(Permission.objects.first()),
}


@pytest.fixture
def watched(device):
    """A device, and a signed-in account that may view it by its own permission and by its group."""
    staff_client("viewer", "readings.view_reading")
    token_client("read")
    Tag.objects.create(name="roof", key="roof", colour="grey")
    group = Group.objects.create(name="watchers")
    group.permissions.add(Permission.objects.get(codename="view_reading"))
    viewer().groups.add(group)
    return device


def test_every_change_that_may_end_a_right_is_counted_and_no_other(watched):
    def counted(change):
        before = AccessVersion.objects.current()
        change(watched)
        return AccessVersion.objects.current() > before

    assert [name for name, change in NO_REVOCATIONS.items() if counted(change)] == []
    assert [name for name, change in REVOCATIONS.items() if not counted(change)] == []
    assert AccessVersion.objects.count() == 1


def test_a_change_that_is_rolled_back_is_not_counted(watched):
    before = AccessVersion.objects.current()
    with transaction.atomic():
        Device.objects.update(is_active=False)
        transaction.set_rollback(True)
    assert AccessVersion.objects.current() == before


@pytest.mark.postgresql  # SQLite has one writer
def test_a_transaction_of_many_changes_counts_once_and_holds_nobody_up(watched):
    Device.objects.register(device_id="mote-2")
    before = AccessVersion.objects.current()
    with transaction.atomic():
        Device.objects.update(is_active=False)
        Device.objects.update(is_active=True)
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE relation = 'devices_accessversion'::regclass")
            assert cursor.fetchone() == (0,)
    assert AccessVersion.objects.current() == before + 1
