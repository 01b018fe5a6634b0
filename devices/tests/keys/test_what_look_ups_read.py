"""A remembered look-up of a key is right while `AccessVersion` stays: every change of what it reads raises it."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, models, transaction
from django.utils import timezone

from devices.access.callers import callers_for_hashes
from devices.keys import hash_key
from devices.models import AccessVersion, ApiToken, Device, DeviceState, DeviceTag, Tag, TokenTag
from devices.tests.fixtures import new_token

pytestmark = pytest.mark.django_db(transaction=True)

# Every table that a look-up reads, or that says what a caller sees, and the row of it that is changed.
ROWS = {
    Device: {"device_id": "mote-1"},
    ApiToken: {"name": "limited"},
    TokenTag: {"tag__name": "roof"},
    Tag: {"name": "roof"},
    DeviceTag: {"tag__name": "roof"},
}
# Fields whose change does change the result of a look-up, and which are counted.
DECIDE = {
    *("Device.api_key_hash", "Device.is_active", "Device.retiring_key_hash", "Device.retiring_key_expires_at"),
    *("ApiToken.token_hash", "ApiToken.scopes", "ApiToken.expires_at"),
    *("TokenTag.token", "TokenTag.tag"),
}
# Fields whose change changes a result, but no right: the name is for the list of changes, and the last use for noting
# the next one.
DECIDE_NOTHING = {"ApiToken.name", "ApiToken.last_used_at"}


@pytest.fixture
def hashes(device, mote):
    """The hashes of the device's two keys, and of two tokens: one is limited to a tag."""
    key = device.rotate_key(overlap=timedelta(hours=1), now=timezone.now())
    Device.objects.register(device_id="mote-2")
    for name in ("roof", "cellar"):
        Tag.objects.create(name=name, key=name, colour="grey")
    DeviceTag.objects.create(device=device, tag=Tag.objects.get(name="roof"))
    tokens = [new_token("ingest"), new_token("ingest", tags=["roof"], name="limited")]
    ApiToken.objects.update(expires_at=timezone.now() + timedelta(days=1), last_used_at=timezone.now())
    return [hash_key(mote[1]), hash_key(key)], [hash_key(token) for token in tokens]


def results(hashes, now):
    found = callers_for_hashes(*hashes, now=now)
    return {
        digest: (caller, caller.device and caller.device.device_id, caller.found and caller.found.until)
        for digest, caller in found.items()
    }


def another(field, value):
    """A value of the field that differs from `value`, for one row."""
    if field.name == "scopes":
        return "read"
    if field.name == "token":
        return ApiToken.objects.exclude(pk=value).values_list("pk", flat=True).first()
    if field.name == "tag":
        return Tag.objects.exclude(pk=value).values_list("pk", flat=True).first()
    if field.name == "device":
        return "mote-2"
    if isinstance(field, models.BooleanField):
        return not value
    if isinstance(field, models.DateTimeField):
        return (value or timezone.now()) - timedelta(days=40)
    if isinstance(field, models.FloatField | models.IntegerField):
        return (value or 0) + 1
    return f"x{value}"[: field.max_length]


def fields():
    """Name, model and field of all columns but primary keys: a row with another primary key is another row."""
    for model in ROWS:
        for field in model._meta.concrete_fields:
            if not field.primary_key:
                yield f"{model.__name__}.{field.name}", model, field


def test_every_change_of_what_a_look_up_reads_is_counted(hashes):
    now = timezone.now()
    before, version = results(hashes, now), AccessVersion.objects.current()
    changed, uncounted, refused = set(), set(), set()
    assert len(before) == 4
    for name, model, field in fields():
        with transaction.atomic():
            row = model.objects.filter(**ROWS[model])
            value = row.values_list(field.attname, flat=True).get()
            try:
                row.update(**{field.name: another(field, value)})
                connection.check_constraints()  # on PostgreSQL it also runs the triggers
            except IntegrityError:
                refused.add(name)
            else:
                if results(hashes, now) != before:
                    changed.add(name)
                    if AccessVersion.objects.current() == version:
                        uncounted.add(name)
            transaction.set_rollback(True)

    assert refused == {"Device.device_id"}  # its state refers to it
    assert uncounted == DECIDE_NOTHING
    assert changed == DECIDE | DECIDE_NOTHING


@pytest.mark.parametrize("model", [Device, ApiToken, TokenTag])
def test_a_row_that_a_look_up_read_cannot_go_uncounted(hashes, model):
    now = timezone.now()
    before, version = results(hashes, now), AccessVersion.objects.current()

    DeviceState.objects.all().delete()
    DeviceTag.objects.all().delete()
    model.objects.all().delete()

    assert results(hashes, now) != before
    assert AccessVersion.objects.current() > version
