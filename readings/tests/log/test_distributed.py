"""Storing and rolling up over a pretended map of five shards, and conditions of the hot statements."""

import random
import re
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import DeviceState
from devices.tests.fixtures import shard_of
from readings.alarms.evaluation.positions import Part
from readings.log import reader
from readings.models import Reading, Rollup
from readings.statistics.tiers import HOURS
from readings.tests.logs import at, make_devices, new, store
from readings.upkeep.rollups import roll_up
from readings.upkeep.sealing.stored_blocks import unseal_mixed

pytestmark = pytest.mark.django_db


def sent(count: int = 400) -> list[Any]:
    """Readings of 40 devices, the same in every test, with some ids twice."""
    chance = random.Random(11)
    ids = [uuid4() for _ in range(60)]
    return [
        new(
            f"node-{chance.randrange(40):04}",
            at(60 * n),
            id=chance.choice(ids) if n % 3 else None,
            temperature=float(n),
            extra={"lux": n + 0.5} if n % 2 else {},
        )
        for n in range(count)
    ]


def outcome() -> tuple[Any, ...]:
    rows = Reading.objects.order_by("device_id", "seq").values_list("device_id", "seq", "timestamp", "temperature")
    states = DeviceState.objects.order_by("device_id").values_list("device_id", "last_seq", "latest", "rolled_up_seq")
    rollups = Rollup.objects.order_by("device_id", "seconds", "start", "metric").values_list()
    return list(rows), list(states), list(rollups)


def test_it_stores_and_rolls_up_the_same_over_several_shards(settings, five_shards):
    readings = sent()
    known = []
    for distributed in (False, True):
        settings.DISTRIBUTED = distributed
        make_devices(40)
        answers = [(o.reading and o.reading.seq, o.duplicate) for o in [*store(readings), *store(readings)]]
        rolled_up = [roll_up(HOURS), roll_up(HOURS)]
        known.append((answers, rolled_up, outcome()))
        for model in (Reading, Rollup, DeviceState):
            model.objects.all().delete()
        connection.cursor().execute("DELETE FROM devices_device")
    assert known[0] == known[1]
    assert known[0][1][0] > 0 == known[0][1][1]
    assert five_shards


def test_stored_ids_are_looked_up_shard_by_shard(five_shards):
    names = make_devices(40)
    given = [(name, uuid4()) for name in names]
    store(new(name, id=identifier) for name, identifier in given)
    with CaptureQueriesContext(connection) as queries:
        found = reader.by_ids(given)
    assert {(reading.device_id, reading.id) for reading in found} == set(given)
    statements = [query["sql"] for query in queries.captured_queries]
    assert [{shard_of(name) for name in names if name in sql} for sql in statements] == [{0}, {1}, {2}, {3}, {4}]


@pytest.mark.postgresql
def test_parts_of_logs_are_read_shard_by_shard_with_each_table_on_it(five_shards):
    names = make_devices(40)
    store(new(name, at(n)) for n in range(3) for name in names)
    with CaptureQueriesContext(connection) as queries:
        found = reader.parts([Part(name, 1, 3, {}) for name in names], with_extra=False)
    assert [row[:2] for row in found] == [(name, seq) for name in names for seq in (2, 3)]
    statements = [query["sql"] for query in queries.captured_queries]
    assert [{shard_of(name) for name in names if name in sql} for sql in statements] == [{0}, {1}, {2}, {3}, {4}]
    # Citus refuses a statement in which one of them may be on any shard.
    assert {sql.count("device_id = ANY(") for sql in statements} == {3}


@pytest.mark.postgresql
def test_blocks_beside_rows_are_searched_shard_by_shard_with_each_table_on_it(five_shards):
    names = make_devices(40)
    with CaptureQueriesContext(connection) as queries:
        assert unseal_mixed(HOURS, dict.fromkeys(names, at(0)), divisible=False) == 0
    statements = [query["sql"] for query in queries.captured_queries]
    assert [{shard_of(name) for name in names if name in sql} for sql in statements] == [{0}, {1}, {2}, {3}, {4}]
    # Citus refuses a statement in which one of them may be on any shard.
    assert {sql.count("device_id = ANY(") for sql in statements} == {2}


# The tables of which each device has rows of its own; in a distributed database they are distributed by `device_id`.
PER_DEVICE = re.compile(r"\b(readings_reading|readings_rollup|devices_devicestate|alarms_evaluationstate)\b")


def test_every_statement_of_the_write_path_names_the_device(device, other_device):
    """Others are sent to every shard."""
    with CaptureQueriesContext(connection) as queries:
        store([new("mote-1", id=uuid4()), new("mote-2", id=uuid4()), new("mote-2", extra={"co2": 400})])
        roll_up(HOURS)
    named = [query["sql"] for query in queries.captured_queries if PER_DEVICE.search(query["sql"])]
    assert len(named) >= 5
    assert [sql for sql in named if "device_id" not in sql.replace("SELECT device_id", "")] == []
