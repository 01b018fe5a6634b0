"""Writes that belong together: a failure rolls all of them back, and of two at the same time only one succeeds."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier, Event
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry, LogEntryManager
from django.contrib.sessions.backends.db import SessionStore
from django.db import OperationalError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from devices.access.rotation import KeysReplaced, fingerprint, rotate_keys
from devices.api.views import DeviceViewSet
from devices.console.activation import digest
from devices.console.rotation import RotationForm
from devices.models import Device, DeviceState, RotationUnderWay
from devices.tests.fixtures import ADMIN_KEY, client_with, staff_client

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/devices/device/"
API = "/api/v1/devices"
WAIT_SECONDS = 20


@pytest.fixture
def operator(db):
    return staff_client("operator", "devices.view_device", "devices.add_device", "devices.change_device")


@pytest.fixture
def five(db):
    return [Device.objects.register(device_id=f"node-{n}")[0] for n in range(5)]


@pytest.fixture
def log_fails(monkeypatch):
    """Makes every insert into the console's log fail."""

    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("no log entry")

    monkeypatch.setattr(LogEntryManager, "log_actions", fail)


@pytest.fixture
def sessions_fail(monkeypatch):
    """Makes it fail to store a key for the page that shows it."""

    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("no session")

    monkeypatch.setattr(SessionStore, "save", fail)


def stored() -> list[tuple[Any, ...]]:
    return [*Device.objects.order_by("device_id").values_list(), *LogEntry.objects.order_by("id").values_list()]


def select(action: str, devices: list[Device], **more: Any) -> dict[str, Any]:
    return {"action": action, "_selected_action": [str(device.pk) for device in devices], **more}


def bulk_form(devices: list[Device]) -> dict[str, Any]:
    return select("rotate", devices, overlap="3600", replaced=fingerprint(devices))


def bulk(client: Any, devices: list[Device]) -> Any:
    return client.post(LIST, bulk_form(devices), format="multipart")


def single(client: Any, devices: list[Device]) -> Any:
    form = {"overlap": "3600", "replaced": fingerprint(devices[:1])}
    return client.post(f"{LIST}{devices[0].pk}/rotate-key/", form, format="multipart")


def api(client: Any, devices: list[Device]) -> Any:
    return client_with(ADMIN_KEY).post(f"{API}/{devices[0].device_id}/rotate-key", {})


def keys_in(response: Any) -> set[str]:
    return set(re.findall(r"tlm_[\w-]{32}", response.content.decode()))


@pytest.mark.parametrize("rotate", [bulk, single])
def test_where_the_log_cannot_be_written_no_key_is_rotated(operator, five, log_fails, rotate):
    before = stored()
    response = rotate(operator, five)
    assert response.status_code == 503
    assert not keys_in(response)
    assert stored() == before


@pytest.mark.parametrize("rotate", [bulk, single])
def test_where_the_keys_cannot_be_shown_no_key_is_rotated(operator, five, sessions_fail, rotate):
    before = stored()
    assert rotate(operator, five).status_code == 503
    assert stored() == before


@pytest.mark.parametrize("rotate", [bulk, single, api])
def test_where_the_commit_fails_no_key_is_shown(operator, five, monkeypatch, rotate):
    before = stored()

    def fail(self: Any) -> None:
        raise OperationalError("no commit")

    with monkeypatch.context() as patched:
        patched.setattr(BaseDatabaseWrapper, "_commit", fail)
        response = rotate(operator, five)
    assert response.status_code == 503
    assert not keys_in(response)
    assert stored() == before


def test_an_error_at_the_fourth_of_five_devices_leaves_all_as_they_were(operator, five, monkeypatch):
    before, replace = stored(), Device.replace_key

    def fail(device: Device, **given: Any) -> str:
        if device.device_id == "node-3":
            raise OperationalError("the fourth")
        return replace(device, **given)

    monkeypatch.setattr(Device, "replace_key", fail)
    response = bulk(operator, five)
    assert response.status_code == 503
    assert not keys_in(response)
    assert stored() == before


def test_one_device_with_an_earlier_key_keeps_all_as_they_were(five):
    five[3].rotate_key(overlap=timedelta(hours=1), now=timezone.now())
    before = stored()
    with pytest.raises(RotationUnderWay) as refused:
        rotate_keys(
            [device.device_id for device in five],
            replaced=fingerprint(five),
            overlap=timedelta(hours=1),
            now=timezone.now(),
            force=False,
        )
    assert refused.value.device_id == "node-3"
    assert stored() == before


def test_what_the_api_cannot_answer_it_does_not_do(operator, five, monkeypatch):
    before = stored()

    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("no answer")

    monkeypatch.setattr(DeviceViewSet, "with_key", fail)
    assert api(operator, five).status_code == 503
    assert client_with(ADMIN_KEY).post(API, {"device_id": "node-9"}).status_code == 503
    assert stored() == before


@pytest.mark.parametrize("fault", ["log_fails", "sessions_fail"])
def test_a_device_whose_key_cannot_be_shown_is_not_registered(operator, request, fault):
    request.getfixturevalue(fault)
    form = {"device_id": "mote-7", "name": "", "report_interval": ""}
    assert operator.post(f"{LIST}add/", form, format="multipart").status_code == 503
    assert stored() == []
    assert not DeviceState.objects.exists()


@pytest.mark.parametrize("action", ["deactivate", "activate"])
def test_no_device_is_switched_without_its_log_entry(operator, five, log_fails, action):
    Device.objects.filter(pk=five[0].pk).update(is_active=False)
    changed = five[1:] if action == "deactivate" else five[:1]
    before = stored()
    form = select(action, five, confirmed=digest(changed))
    assert operator.post(LIST, form, format="multipart").status_code == 503
    assert stored() == before


def at_once(work: Callable[[], Any]) -> list[Any]:
    """The result or error of `work` in each of two threads that start at the same time."""
    start = Barrier(2)

    def run() -> Any:
        try:
            start.wait(WAIT_SECONDS)
            return work()
        except (KeysReplaced, RotationUnderWay) as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        return [future.result(WAIT_SECONDS) for future in [threads.submit(run), threads.submit(run)]]


@pytest.mark.parametrize("rotate", [bulk, single])
def test_of_two_submits_of_one_form_one_passes(operator, five, monkeypatch, rotate):
    """Both threads have read the keys before one of them locks the rows."""
    both = Barrier(2)
    valid = RotationForm.is_valid

    def meet(form: Any) -> bool:
        both.wait(WAIT_SECONDS)
        return valid(form)

    monkeypatch.setattr(RotationForm, "is_valid", meet)
    clients = [operator, staff_client("second", "devices.view_device", "devices.change_device")]

    def rotate_and_open() -> Any:
        client = clients.pop()
        response = rotate(client, five)
        return client.get(response["Location"]) if response.status_code == 303 else response

    responses = at_once(rotate_and_open)

    shown = [keys for response in responses if (keys := keys_in(response))]
    assert len(shown) == 1
    assert len(shown[0]) == (5 if rotate is bulk else 1)
    assert "rotated already" in "".join(response.content.decode() for response in responses)
    now = timezone.now()
    assert all(Device.objects.for_key(key, now=now) for key in shown[0])
    assert LogEntry.objects.count() == len(shown[0])


def test_of_two_rotations_over_the_api_one_passes(five):
    answers = at_once(lambda: api(None, five).status_code)
    assert sorted(answers) == [200, 409]


@pytest.mark.postgresql  # SQLite has one writer at a time
class TestBesideOtherWriters:
    """Inserts that reference devices share locks on their rows in any order; a new key needs an exclusive lock."""

    def rotate_beside(self, five: list[Device], others: Callable[[Event, Event], None]) -> list[tuple[Device, str]]:
        """Rotates all keys after `others`, in a thread, sets the first event; sets the second when that waits."""
        begun, waits = Event(), Event()

        def run() -> None:
            try:
                others(begun, waits)
            finally:
                connection.close()

        def rotate() -> list[tuple[Device, str]]:
            try:
                return rotate_keys(
                    [device.device_id for device in five],
                    replaced=fingerprint(five),
                    overlap=timedelta(0),
                    now=timezone.now(),
                    force=False,
                )
            finally:
                connection.close()

        with ThreadPoolExecutor(2) as threads:
            other = threads.submit(run)
            assert begun.wait(WAIT_SECONDS)
            rotation = threads.submit(rotate)
            wait_for_a_blocked_statement_or(rotation.done)
            waits.set()
            other.result(WAIT_SECONDS)
            return rotation.result(WAIT_SECONDS)

    def test_it_waits_for_ingest_that_goes_through_the_devices_backwards(self, five):
        def ingest(begun: Event, waits: Event) -> None:
            with transaction.atomic():
                DeviceState.objects.lock([device.device_id for device in five])
                share(five[4])
                begun.set()
                assert waits.wait(WAIT_SECONDS)
                for device in reversed(five):
                    share(device)

        assert len(self.rotate_beside(five, ingest)) == 5

    @pytest.mark.one_database("writers of a copied table wait for each other")
    def test_it_waits_for_upkeep_that_shares_devices_before_it_locks_their_states(self, five):
        def upkeep(begun: Event, waits: Event) -> None:
            with transaction.atomic():
                share(five[4])
                begun.set()
                waits.wait(1)  # the rotation does not wait in a statement: it releases its locks and tries again
                DeviceState.objects.lock([device.device_id for device in five])

        assert len(self.rotate_beside(five, upkeep)) == 5


def share(device: Device) -> None:
    """Locks a device like the foreign key check of an insert."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM devices_device WHERE id = %s FOR KEY SHARE", [device.pk])


def wait_for_a_blocked_statement_or(done: Callable[[], bool]) -> None:
    deadline = timezone.now() + timedelta(seconds=2)
    while not done() and timezone.now() < deadline:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
