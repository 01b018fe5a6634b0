"""The key of readings: `(id, device_id)`, and the migration to it and back."""

from importlib import import_module
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import IntegrityError, OperationalError, connection, connections, models, transaction

from devices.models import Device
from readings.log.ids import uuid7
from readings.models import Reading
from readings.tests.logs import NOON, at, make_devices, new, store

migration: Any = import_module("readings.migrations.0013_key_by_device_and_id")
BEFORE = migration.Migration.dependencies[0][1]
BY_DEVICE, BY_ID = ["id", "device_id"], ["id"]


def key() -> list[str] | None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            return connection.introspection.get_primary_key_columns(cursor, "readings_reading")
        cursor.execute("SELECT name FROM pragma_table_info('readings_reading') WHERE pk > 0 ORDER BY pk")
        return [name for (name,) in cursor.fetchall()]


def indexes() -> dict[str, tuple[list[str], bool]]:
    """Columns of each index or unique key of the table, by name, and whether they are unique."""
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, "readings_reading")
    return {name: (about["columns"], about["unique"]) for name, about in found.items() if about["index"]}


def rows() -> list[tuple[Any, ...]]:
    return list(Reading.objects.order_by("device_id", "seq").values_list())


def execute(statement: str, parameters: Any = None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


@pytest.fixture
def logs(transactional_db):
    """Two devices with readings; afterwards every migration is applied."""
    for name in make_devices(2):
        store([new(name, at(n), id=uuid7(), temperature=n / 8, extra={"lux": n + 0.25}) for n in range(20)])
    yield rows()
    call_command("migrate", verbosity=0)


@pytest.mark.django_db
def test_the_same_id_of_two_devices_is_two_readings(device, other_device):
    """Fails when a migration has let Django remake the table on SQLite: see migration 0013."""
    assert key() == BY_DEVICE
    shared = uuid4()
    store([new("mote-1", id=shared), new("mote-2", id=shared)])
    assert Reading.objects.filter(id=shared).count() == 2
    with pytest.raises(IntegrityError), transaction.atomic():
        execute(
            "INSERT INTO readings_reading (id, device_id, seq, timestamp, extra) "
            "SELECT id, device_id, seq + 1, timestamp, extra FROM readings_reading WHERE device_id = %s",
            ["mote-1"],
        )


@pytest.mark.django_db(transaction=True)
@pytest.mark.once  # only SQLite remakes tables
def test_a_table_that_django_remade_gets_its_key_again(logs):
    """Django's editor believes that `id` is the key, and forgets the trigger."""
    trigger = import_module("readings.migrations.0002_readings_are_immutable")
    as_it_is: Any = Reading._meta.get_field("seq")
    other = models.IntegerField()
    other.set_attributes_from_name("seq")
    with connection.schema_editor(atomic=False) as editor:
        editor.alter_field(Reading, as_it_is, other)
        editor.alter_field(Reading, other, as_it_is)
        assert key() == BY_ID
        trigger.refuse_updates(apps, editor)
        migration.key_by_device(apps, editor)
    assert key() == BY_DEVICE
    assert rows() == logs
    with pytest.raises(IntegrityError, match="immutable"):
        Reading.objects.update(temperature=0)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.one_database("a migration from before tables are distributed")
def test_the_migration_can_be_undone_and_done_again(logs):
    known = indexes()
    call_command("migrate", "readings", BEFORE, verbosity=0)
    assert key() == BY_ID
    assert rows() == logs
    with pytest.raises(IntegrityError, match="immutable"), transaction.atomic():
        Reading.objects.update(temperature=0)
    with pytest.raises(IntegrityError), transaction.atomic():
        execute(
            "INSERT INTO readings_reading (id, device_id, seq, timestamp, extra) "
            "SELECT id, 'node-0001', 99, timestamp, extra FROM readings_reading "
            "WHERE device_id = 'node-0000' AND seq = 1"
        )
    call_command("migrate", verbosity=0)
    assert key() == BY_DEVICE
    assert indexes() == known
    assert rows() == logs
    with pytest.raises(IntegrityError, match="immutable"), transaction.atomic():
        Reading.objects.update(temperature=0)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.one_database("a migration from before tables are distributed")
def test_it_is_not_undone_where_two_devices_share_an_id(logs):
    shared, known = uuid4(), indexes()
    store([new("node-0000", id=shared), new("node-0001", id=shared)])
    with pytest.raises(CommandError, match="two devices have stored readings with the same id"):
        call_command("migrate", "readings", BEFORE, verbosity=0)
    assert key() == BY_DEVICE
    assert indexes() == known
    assert Reading.objects.filter(id=shared).count() == 2


def apply() -> None:
    with connection.schema_editor(atomic=False) as editor:
        migration.key_by_device(apps, editor)


def take_back() -> None:
    with connection.schema_editor(atomic=False) as editor:
        migration.key_by_id(apps, editor)


@pytest.mark.django_db(transaction=True)
@pytest.mark.postgresql
@pytest.mark.parametrize("left", ["invalid", "valid", "of the reverse", "swapped"])
@pytest.mark.one_database("a migration from before tables are distributed")
def test_it_goes_on_where_an_attempt_was_stopped(logs, left):
    known = indexes()
    take_back()
    if left == "invalid":
        execute(f"CREATE UNIQUE INDEX {migration.INDEX_BY_DEVICE} ON readings_reading (id, device_id)")
        execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", [migration.INDEX_BY_DEVICE])
    if left == "valid":
        execute(f"CREATE UNIQUE INDEX {migration.INDEX_BY_DEVICE} ON readings_reading (id, device_id)")
    if left == "of the reverse":
        execute(f"CREATE UNIQUE INDEX {migration.INDEX_BY_ID} ON readings_reading (id)")
    if left == "swapped":
        apply()
    apply()
    assert key() == BY_DEVICE
    assert indexes() == known


@pytest.mark.django_db(transaction=True)
@pytest.mark.postgresql
@pytest.mark.one_database("a migration from before tables are distributed")
def test_it_waits_for_a_long_query_in_short_turns(logs, monkeypatch):
    """A lock that waits keeps everybody else waiting behind it."""
    take_back()
    other = connections.create_connection("default")
    waits: list[float] = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        store([new("node-0000")])  # the log is open meanwhile
        if len(waits) == 2:
            other.close()

    monkeypatch.setattr(migration.time, "sleep", pause)
    monkeypatch.setattr(migration, "LOCK_TIMEOUT", "50ms")
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM readings_reading")
        apply()
    finally:
        other.close()
    assert waits == [1.0, 1.0]
    assert key() == BY_DEVICE


@pytest.mark.django_db(transaction=True)
@pytest.mark.postgresql
@pytest.mark.one_database("a migration from before tables are distributed")
def test_it_gives_up_when_the_log_is_never_free(logs, monkeypatch):
    take_back()
    other = connections.create_connection("default")
    monkeypatch.setattr(migration, "LOCK_PAUSE_SECONDS", 0)
    monkeypatch.setattr(migration, "LOCK_TIMEOUT", "10ms")
    monkeypatch.setattr(migration, "LOCK_ATTEMPTS", 3)
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM readings_reading")
        with pytest.raises(OperationalError, match="lock timeout"):
            apply()
        assert key() == BY_ID
    finally:
        other.close()
    apply()


@pytest.mark.django_db(transaction=True)
def test_a_dump_of_readings_can_be_loaded(logs, tmp_path):
    """With an id that two devices share, and without looking for the row of each reading."""
    shared = uuid4()
    store([new("node-0000", NOON, id=shared), new("node-0001", NOON, id=shared)])
    known, dump = rows(), tmp_path / "old.xml"
    call_command("dumpdata", "readings.reading", format="xml", output=str(dump))
    Reading.objects.filter(device_id__in=list(Device.objects.values_list("device_id", flat=True))).delete()
    call_command("loaddata", str(dump), verbosity=0)
    assert rows() == known
