"""The write path itself, `readings.log.recording.record`."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from devices.database import log_locks
from devices.database.pipelines import execute_prepared
from devices.states import DeviceStateManager
from readings.log import reader
from readings.log.recording import INACTIVE_DEVICE, UNKNOWN_DEVICE, Recorded
from readings.models import Reading
from readings.querysets import ReadingManager
from readings.signals import readings_recorded
from readings.tests.logs import at, make_devices, new, state_of, store

pytestmark = pytest.mark.django_db


@pytest.fixture
def heard():
    """The `appended` of each `readings_recorded` signal."""
    calls: list[Any] = []

    def listen(appended, **_):
        assert Reading.objects.filter(pk=appended[-1].readings[-1].id).exists()
        calls.append(appended)

    readings_recorded.connect(listen)
    yield calls
    readings_recorded.disconnect(listen)


def numbers(outcomes: list[Recorded]) -> list[tuple[str, int]]:
    return [(outcome.reading.device_id, outcome.reading.seq) for outcome in outcomes if outcome.reading]


def log(device_id: str = "mote-1") -> list[tuple[int, float | None]]:
    return list(Reading.objects.filter(device_id=device_id).order_by("seq").values_list("seq", "temperature"))


def test_each_devices_log_is_numbered_from_one_in_the_order_of_the_call(device, other_device):
    outcomes = store(new(name, temperature=float(n)) for n, name in enumerate(["mote-2", "mote-1", "mote-2", "mote-2"]))

    assert numbers(outcomes) == [("mote-2", 1), ("mote-1", 1), ("mote-2", 2), ("mote-2", 3)]
    assert log("mote-1") == [(1, 1)]
    assert log("mote-2") == [(1, 0), (2, 2), (3, 3)]


def test_readings_are_numbered_as_they_come_not_as_they_were_measured(device):
    store([new(timestamp=at(10), temperature=1.0), new(timestamp=at(-10), temperature=2.0)])
    store([new(timestamp=at(0), temperature=3.0)])
    assert log() == [(1, 1), (2, 2), (3, 3)]


def test_what_it_says_it_stored_is_what_is_stored(device):
    (outcome,) = store([new(timestamp=at(0.000001), id=uuid4(), humidity=40.5, extra={"rssi": -67, "pm2_5": 3.25})])

    stored = Reading.objects.get()
    for name in ("id", "device_id", "seq", "timestamp", "temperature", "humidity", "voltage", "extra"):
        assert getattr(outcome.reading, name) == getattr(stored, name)
    assert repr(stored.extra["rssi"]) == "-67"


def test_duplicates_and_refusals_leave_no_hole(device):
    twice = uuid4()
    readings = [new(), new(id=twice), new("nobody"), new(id=twice), new()]

    outcomes = store(readings)

    assert numbers(outcomes) == [("mote-1", 1), ("mote-1", 2), ("mote-1", 2), ("mote-1", 3)]
    assert [outcome.duplicate for outcome in outcomes] == [False, False, False, True, False]
    assert [outcome.refusal for outcome in outcomes] == [None, None, UNKNOWN_DEVICE, None, None]
    assert [seq for seq, _ in log()] == [1, 2, 3]


def test_a_reading_of_an_inactive_device_is_refused(device):
    type(device).objects.update(is_active=False)
    assert store([new()]) == [Recorded(refusal=INACTIVE_DEVICE)]


def test_an_id_is_recognised_for_its_device_only(device, other_device):
    """Also within one call."""
    shared, own = uuid4(), uuid4()
    store([new("mote-1", id=shared, temperature=1.0)])

    outcomes = store(
        [
            new("mote-2", id=shared, temperature=2.0),
            new("mote-1", id=shared),
            new("mote-2", id=own, temperature=3.0),
            new("mote-1", id=own, temperature=4.0),
            new("mote-2", id=shared),
        ]
    )

    assert numbers(outcomes) == [("mote-2", 1), ("mote-1", 1), ("mote-2", 2), ("mote-1", 2), ("mote-2", 1)]
    assert [outcome.duplicate for outcome in outcomes] == [False, True, False, False, True]
    assert [outcome.reading.temperature for outcome in outcomes if outcome.reading] == [2.0, 1.0, 3.0, 4.0, 2.0]
    assert log("mote-1") == [(1, 1.0), (2, 4.0)]
    assert log("mote-2") == [(1, 2.0), (2, 3.0)]


@pytest.mark.one_database("each shard has a statement")
def test_a_stored_reading_is_found_with_one_look_up_in_the_key(device, other_device):
    given = [(name, uuid4()) for name in ("mote-1", "mote-2")]
    store(new(name, id=identifier) for name, identifier in given)
    crossed = [("mote-1", given[1][1]), ("mote-2", given[0][1]), ("nobody", given[0][1])]
    with CaptureQueriesContext(connection) as queries:
        found = reader.by_ids([*crossed, *given])
    assert {(reading.device_id, reading.id) for reading in found} == set(given)
    (query,) = queries.captured_queries
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET LOCAL enable_bitmapscan = off")
            cursor.execute(f"EXPLAIN {query['sql']}")
        else:
            cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
        plan = str(cursor.fetchall())
    key = "readings_reading_pkey" if connection.vendor == "postgresql" else "(id=? AND device_id=?)"
    assert key in plan


def test_it_raises_what_the_database_refuses(device, monkeypatch):
    def refuse(self, readings, **_):
        raise IntegrityError("no")

    monkeypatch.setattr(ReadingManager, "insert", refuse)
    with pytest.raises(IntegrityError):
        store([new()])
    assert (state_of().last_seq, state_of().last_seen_at) == (0, None)


@pytest.mark.parametrize("failing", ["insert", "advance"])
def test_a_write_that_fails_leaves_nothing(device, other_device, heard, monkeypatch, failing):
    insert, advance = ReadingManager.insert, DeviceStateManager.advance

    def insert_then_fail(self, readings, **options):
        insert(self, readings, **options)
        raise DatabaseError("the disk is full")

    def advance_then_fail(*arguments, **options):
        advance(*arguments, **options)
        raise DatabaseError("the disk is full")

    if failing == "insert":
        monkeypatch.setattr(ReadingManager, "insert", insert_then_fail)
    else:
        monkeypatch.setattr(DeviceStateManager, "advance", advance_then_fail)
    with pytest.raises(DatabaseError):
        store([new("mote-1"), new("mote-2")])
    monkeypatch.undo()

    assert not Reading.objects.exists()
    assert (state_of().last_seq, state_of().last_seen_at, state_of().latest_seq) == (0, None, None)
    assert heard == []
    assert numbers(store([new("mote-1")])) == [("mote-1", 1)]


def test_it_refuses_to_be_part_of_a_larger_transaction(transactional_db, mote):
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        store([new()])


def test_it_announces_what_was_stored_after_the_commit(transactional_db, mote, other_device, heard):
    again = uuid4()
    outcomes = store([new("mote-1", id=again), new("mote-2"), new("mote-1"), new("mote-1", id=again), new("nobody")])

    (appended,) = heard
    by_device = {part.device_id: part for part in appended}
    assert by_device["mote-1"].readings == [outcomes[0].reading, outcomes[2].reading]
    assert by_device["mote-2"].readings == [outcomes[1].reading]
    assert by_device["mote-1"].device_pk == mote[0].pk
    assert by_device["mote-2"].device_pk == other_device[0].pk


def test_it_announces_nothing_where_nothing_is_new(device, heard):
    again = uuid4()
    store([new(id=again)])
    store([new(id=again), new("nobody")])
    assert len(heard) == 1


def test_a_listener_that_fails_fails_no_write(device, heard, caplog):
    def fail(**_):
        raise ValueError("out of order")

    readings_recorded.connect(fail)
    try:
        outcomes = store([new()])
    finally:
        readings_recorded.disconnect(fail)
    assert numbers(outcomes) == [("mote-1", 1)]
    assert Reading.objects.count() == len(heard) == 1
    assert "out of order" in caplog.text


def test_devices_are_always_locked_in_the_same_order(device, other_device, monkeypatch, settings):
    statements = []

    def execute(connection, statement, parameters=None):
        statements.append(statement.strip())
        return execute_prepared(connection, statement, parameters)

    monkeypatch.setattr(log_locks, "execute_prepared", execute)
    store([new("mote-2"), new("mote-1")])
    if connection.vendor == "postgresql":
        # On Citus a statement of its own for each shard, in their order.
        lock = log_locks.LOCK if settings.DISTRIBUTED else log_locks.LOCK_AND_READ
        assert statements[0] == lock.strip()
        assert log_locks.LOCK.endswith("ORDER BY device_id\nFOR NO KEY UPDATE\n")
        assert log_locks.LOCK_AND_READ.endswith("ORDER BY state.device_id\nFOR NO KEY UPDATE OF state\n")


def test_many_readings_cost_as_many_queries_as_one(device, django_assert_max_num_queries):
    if connection.vendor == "sqlite":
        with django_assert_max_num_queries(30):  # in parts, as SQLite limits the variables of a statement
            store(new(id=uuid4()) for _ in range(1000))
        return
    with django_assert_max_num_queries(10) as few:
        store([new(id=uuid4())])
    with django_assert_max_num_queries(10) as many:
        store(new(id=uuid4()) for _ in range(5000))
    assert len(many) == len(few)


def test_many_devices_cost_few_queries(db, django_assert_max_num_queries):
    device_ids = make_devices(400)
    with django_assert_max_num_queries(30):
        outcomes = store(new(name) for name in device_ids)
    assert numbers(outcomes) == [(name, 1) for name in device_ids]
