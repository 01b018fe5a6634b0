"""Groups of devices by the shard of a distributed database, over a pretended map of five shards."""

from typing import Any

import pytest
from django.db import NotSupportedError, connection
from django.test.utils import CaptureQueriesContext

from devices.database import placement
from devices.models import Device, DeviceState
from devices.states import Advance
from devices.tests.fixtures import shard_of

pytestmark = pytest.mark.django_db
NAMES = [f"mote-{n}" for n in range(40)]


@pytest.fixture
def asked(five_shards: list[list[str]]) -> list[list[str]]:
    """What the database was asked for."""
    return five_shards


@pytest.fixture
def registered(db) -> None:
    Device.objects.register_all([{"device_id": name} for name in NAMES])


def statements(work: Any, word: str) -> list[str]:
    with CaptureQueriesContext(connection) as queries:
        work()
    return [query["sql"] for query in queries.captured_queries if word in query["sql"]]


@pytest.mark.one_database("it says what one database does")
def test_in_one_database_all_devices_are_one_group():
    assert placement.ids_in_groups(NAMES) == [NAMES]
    assert placement.ids_in_groups([]) == []


def test_each_group_has_the_devices_of_one_shard_in_the_order_of_the_shards(asked):
    groups = placement.ids_in_groups(NAMES)
    assert [{shard_of(name) for name in group} for group in groups] == [{0}, {1}, {2}, {3}, {4}]
    assert sorted(name for group in groups for name in group) == sorted(NAMES)
    assert placement.ids_in_groups(NAMES[::-1]) == [list(reversed(group)) for group in groups]


def test_the_database_is_asked_once_for_each_device(asked):
    placement.ids_in_groups(NAMES[:30])
    placement.ids_in_groups(NAMES)
    assert [sorted(names) for names in asked] == [sorted(NAMES[:30]), sorted(NAMES[30:])]


def test_it_does_not_ask_for_one_device(asked):
    assert placement.ids_in_groups(["mote-1"]) == [["mote-1"]]
    assert asked == []


def test_the_memory_is_bounded(asked, monkeypatch):
    monkeypatch.setattr(placement, "REMEMBERED_MAX", 20)
    for first in range(0, 40, 8):
        names = NAMES[first : first + 8]
        assert placement.shards_of(names) == {name: shard_of(name) for name in names}
        assert len(placement.remembered) <= 20


def test_it_forgets_when_the_database_refuses_a_group(asked):
    placement.ids_in_groups(NAMES)
    with pytest.raises(NotSupportedError), placement.forgotten_if_refused():
        raise NotSupportedError("could not run distributed query with FOR UPDATE/SHARE commands")
    assert placement.remembered == {}


def test_devices_of_a_shard_that_was_split_are_a_group_of_their_own_once(asked, monkeypatch):
    placement.ids_in_groups(NAMES)
    monkeypatch.setattr(placement, "node_of_shard", lambda: {0: 1, 1: 1, 2: 2, 3: 2})
    groups = placement.by_nodes(NAMES, lambda name: [name])
    assert sorted(sorted({shard_of(name) for name in group}) for group in groups) == [[0, 1], [2, 3], [4]]
    assert placement.remembered == {}


def test_devices_of_several_shards_are_locked_shard_by_shard(asked, registered):
    ends: Any = {}
    locked = DeviceState.objects.lock_at_version
    locks = statements(lambda: ends.update(locked([*NAMES, "nobody"])[0]), "FOR NO KEY UPDATE")
    if connection.vendor == "postgresql":
        assert len(locks) == 5
        for shard, sql in enumerate(locks):
            assert {name for name in NAMES if f'"{name}"' in sql} == {name for name in NAMES if shard_of(name) == shard}
    assert sorted(ends) == sorted(NAMES)
    assert {end.last_seq for end in ends.values()} == {0}


def test_states_of_several_shards_are_advanced_shard_by_shard(asked, registered):
    advances = [Advance(name, n + 1) for n, name in enumerate(NAMES)]
    moves = statements(lambda: DeviceState.objects.advance(advances, seen_at=None), "UPDATE devices_devicestate")
    if connection.vendor == "postgresql":
        assert len(moves) == 5
        for shard, sql in enumerate(moves):
            assert {name for name in NAMES if f'"{name}"' in sql} == {name for name in NAMES if shard_of(name) == shard}
    found = DeviceState.objects.values_list("device_id", "last_seq")
    assert dict(found) == {name: n + 1 for n, name in enumerate(NAMES)}
