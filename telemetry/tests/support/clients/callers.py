"""Every kind of caller, as a client that asks about the device `mote-1`."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.utils import timezone
from rest_framework.test import APIClient

from devices.models import AccountTag, Device, DeviceTag, Tag
from devices.tests.fixtures import ADMIN_KEY, FLEET_KEY, client_with, staff_client, token_client

CSRF_TOKEN = "t" * 32
# Headers that our pages send with their session when they change something.
CSRF = {"X-CSRFToken": CSRF_TOKEN, "Origin": "http://testserver"}
CSRF_HEADERS: Any = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in CSRF.items()}


class World:
    """Two devices, the first with readings, and one client for each kind of caller."""

    def __init__(self, permission: str | None, permissions: Sequence[str]) -> None:
        """`permission` is required for the request (several joined by +); `permissions` are all that exist."""
        self.granted = permission.split("+") if permission else []
        # In the console, the permission to change includes the one to view.
        sufficient = {*self.granted, *(granted.replace(".view_", ".change_") for granted in self.granted)}
        self.others = [other for other in permissions if other not in sufficient]
        self.mote, self.key = Device.objects.register(device_id="mote-1", name="North window")
        _, self.other_key = Device.objects.register(device_id="mote-2")
        Tag.objects.create(name="greenhouse-3", key="greenhouse-3", colour="green")
        self.elsewhere = Tag.objects.create(name="elsewhere", key="elsewhere", colour="grey")
        DeviceTag.objects.create(device=Device.objects.get(device_id="mote-2"), tag=self.elsewhere)
        client_with(self.key).post("/api/v1/ingest", {"temperature": 21.5})

    def client(self, caller: str) -> APIClient:
        make: Callable[[], APIClient] = getattr(self, caller)
        return make()

    def nobody(self) -> APIClient:
        return client_with(None)

    def wrong(self) -> APIClient:
        """A key that no device has."""
        return client_with("tlm_wrong-wrong-wrong-wrong-wrong")

    def url(self) -> APIClient:
        """The administrator's key in the URL instead of a header, where it does not count."""
        client = client_with(None)
        client.defaults["QUERY_STRING"] = f"api_key={ADMIN_KEY}&ticket={ADMIN_KEY}"
        return client

    def own(self) -> APIClient:
        """The key of the device that is asked about."""
        return client_with(self.key)

    def other(self) -> APIClient:
        """The key of another device."""
        return client_with(self.other_key)

    def retiring(self) -> APIClient:
        """The device's previous key, within its overlap."""
        self.mote.rotate_key(overlap=timedelta(hours=1), now=timezone.now())
        return client_with(self.key)

    def retired(self) -> APIClient:
        """The device's previous key, after its overlap."""
        self.mote.rotate_key(overlap=timedelta(hours=1), now=timezone.now() - timedelta(hours=2))
        return client_with(self.key)

    def inactive(self) -> APIClient:
        """The key of the device after it was deactivated."""
        Device.objects.filter(pk=self.mote.pk).update(is_active=False)
        return client_with(self.key)

    def fleet(self) -> APIClient:
        """The key of a gateway."""
        return client_with(FLEET_KEY)

    def admin(self) -> APIClient:
        """The administrator's key."""
        return client_with(ADMIN_KEY)

    def staff(self, name: str = "staff") -> APIClient:
        """A staff account with only the required permission, from a page of ours."""
        client = staff_client(name, *self.granted, enforce_csrf=True)
        client.cookies["csrftoken"] = CSRF_TOKEN
        client.credentials(**CSRF_HEADERS)
        return client

    def member(self) -> APIClient:
        """As `staff`, but by membership of a group with the required permission, without staff status."""
        client = staff_client("member", enforce_csrf=True)
        user = User.objects.get(username="member")
        group = Group.objects.create(name="members")
        for granted in self.granted:
            app, codename = granted.split(".")
            group.permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
        user.groups.add(group)
        User.objects.filter(username="member").update(is_staff=False)
        client.cookies["csrftoken"] = CSRF_TOKEN
        client.credentials(**CSRF_HEADERS)
        return client

    def without(self) -> APIClient:
        """A staff account with every permission except the required one, and those that include it."""
        return staff_client("without", *self.others)

    def root(self) -> APIClient:
        """A superuser, who needs no permission by name."""
        client = staff_client("root")
        User.objects.filter(username="root").update(is_superuser=True)
        return client

    def visitor(self) -> APIClient:
        """An account with every permission that has no role: it is not staff, and in no group."""
        client = staff_client("visitor", *self.granted, *self.others)
        User.objects.filter(username="visitor").update(is_staff=False)
        return client

    def closed(self) -> APIClient:
        """A staff account with every permission, deactivated after it signed in."""
        client = staff_client("closed", *self.granted, *self.others)
        User.objects.filter(username="closed").update(is_active=False)
        return client

    def reader(self) -> APIClient:
        """An API token with the scope read, as the next ones with other scopes."""
        return token_client("read", name="reader")

    def manager(self) -> APIClient:
        return token_client("manage", name="manager")

    def ingester(self) -> APIClient:
        return token_client("ingest", name="ingester")

    def registrar(self) -> APIClient:
        return token_client("ingest", "register", name="registrar")

    def limited(self) -> APIClient:
        """A token that may read, manage and ingest, limited to a tag that only another device has."""
        return token_client("manage", "ingest", tags=["elsewhere"], name="limited")

    def scoped(self) -> APIClient:
        """As `staff`, limited to a tag that only another device has."""
        client = self.staff("scoped")
        AccountTag.objects.create(user=User.objects.get(username="scoped"), tag=self.elsewhere)
        return client

    def no_csrf(self) -> APIClient:
        """As `staff`, without a CSRF token."""
        return staff_client("no_csrf", *self.granted, enforce_csrf=True)

    def foreign(self) -> APIClient:
        """As `staff`, with the token, from a page of another origin."""
        client = self.staff("foreign")
        client.credentials(HTTP_X_CSRFTOKEN=CSRF_TOKEN, HTTP_ORIGIN="https://evil.example.net")
        return client
