"""The fixtures that the tests of all packages share, and the choice of tests by the database of the run."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import hypothesis
import pytest
from django.conf import settings as django_settings
from django.db import connection
from pytest_django import DjangoDbBlocker, Settings
from rest_framework.test import APIClient

from devices.database import placement
from devices.database.distribution import distribute
from devices.models import Device
from devices.tests.fixtures import ADMIN_KEY, FLEET_KEY, client_with, shard_of, staff_client
from devices.tokens import querysets
from devices.tokens.uses import Uses
from telemetry.tests.support import citus, quick_flush
from telemetry.tests.support.undurable import make_undurable

# The same examples in every run, and none stored in a directory, so that a failure comes from the change.
hypothesis.settings.register_profile("telemetry", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("telemetry")

# Whether this is a run on Citus (`make test-citus`).
DISTRIBUTED = django_settings.DISTRIBUTED

# The settings of all tests, independent of the developer's `.env`. Set once, and not by a fixture, which costs
# each test seven overrides, and makes each look at a setting slower.
django_settings.SECRET_KEY = "secret-key-of-the-tests-0123456789-0123456789"  # noqa: S105
django_settings.API_SECRET_KEY = ADMIN_KEY
django_settings.DEVICE_API_KEYS = [FLEET_KEY]
django_settings.ALLOWED_ORIGINS = ["https://app.example.org"]
django_settings.ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
django_settings.DEFAULT_REPORT_INTERVAL = 60
django_settings.DEVICE_RATE_LIMIT = ""
django_settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

if not DISTRIBUTED:
    make_undurable(connection.settings_dict, vendor=connection.vendor)


@pytest.fixture(scope="session")
def django_db_keepdb(django_db_keepdb: bool) -> bool:
    return django_db_keepdb or DISTRIBUTED


@pytest.fixture(scope="session")
def databases_of_nodes(django_db_modify_db_settings: None) -> Iterator[None]:
    """In a run on Citus: empty test databases on all nodes."""
    with citus.made_databases() if DISTRIBUTED else nullcontext():
        yield


@pytest.fixture(scope="session")
def django_db_setup(databases_of_nodes: None, django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """The test database, which transactional tests empty with `quick_flush`."""
    with django_db_blocker.unblock():
        if DISTRIBUTED:
            distribute()
        command = quick_flush.install()
        # In a run without a test of the database there is none.
        if "django_content_type" in connection.introspection.table_names():
            command.remember()


@pytest.fixture(autouse=True)
def uses_of_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes uses of tokens at once: another thread would not see what a test has not committed."""
    monkeypatch.setattr(querysets, "uses", Uses(lambda write: write()))


@pytest.fixture
def five_shards(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> list[list[str]]:
    """Pretends that the database is distributed over five shards; has the device ids that it was asked about."""
    if DISTRIBUTED:
        pytest.skip("pretends to be distributed, and the database is")
    questions: list[list[str]] = []

    def ask(device_ids: Sequence[str]) -> list[tuple[str, int]]:
        questions.append(list(device_ids))
        return [(device_id, shard_of(device_id)) for device_id in device_ids]

    settings.DISTRIBUTED = True
    monkeypatch.setattr(placement, "ask", ask)
    monkeypatch.setattr(placement, "node_of_shard", lambda: dict.fromkeys(range(5), 1))
    monkeypatch.setattr(placement, "remembered", {})
    monkeypatch.setattr(placement, "known_nodes", {})
    return questions


def pytest_collection_modifyitems(config: pytest.Config, items: list[Any]) -> None:
    """Deselects tests about PostgreSQL or Citus if the run is not on it; another run has them.

    In a run on Citus, skips those that cannot apply there, and says why. Puts files that take long first.
    """
    missing = [] if DISTRIBUTED else ["citus"] if connection.vendor == "postgresql" else ["citus", "postgresql"]
    for name in missing:
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker(name)])
        items[:] = [item for item in items if not item.get_closest_marker(name)]
    if DISTRIBUTED:
        for item in items:
            if marker := item.get_closest_marker("one_database"):
                item.add_marker(pytest.mark.skip(marker.args[0]))
    # Files begin in their order. One that takes minutes would otherwise be the last, beside idle workers.
    items.sort(key=lambda item: not item.get_closest_marker("long"))


def pytest_collection() -> None:
    """Switches garbage collection off until the tests are collected, because nothing that is made there is garbage."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Exempts modules and collected tests from garbage collection, which would visit them again and again."""
    gc.enable()
    gc.freeze()


@pytest.fixture
def anyone() -> APIClient:
    return client_with(None)


@pytest.fixture
def admin() -> APIClient:
    return client_with(ADMIN_KEY)


@pytest.fixture
def fleet() -> APIClient:
    return client_with(FLEET_KEY)


@pytest.fixture
def mote(db: None) -> tuple[Device, str]:
    """A registered device and its key."""
    return Device.objects.register(device_id="mote-1", name="North window")


@pytest.fixture
def device(mote: tuple[Device, str]) -> Device:
    return mote[0]


@pytest.fixture
def as_device(mote: tuple[Device, str]) -> APIClient:
    """A client with the key of `device`."""
    return client_with(mote[1])


@pytest.fixture
def other_device(db: None) -> tuple[Device, str]:
    """Another registered device and its key."""
    return Device.objects.register(device_id="mote-2")


@pytest.fixture
def as_other_device(other_device: tuple[Device, str]) -> APIClient:
    return client_with(other_device[1])


@pytest.fixture
def staff_without_permission(db: None) -> APIClient:
    return staff_client("newcomer")
