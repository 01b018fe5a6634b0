"""Nodes of a distributed database that do not answer, over a pretended map of five shards."""

import threading

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction
from django.db.backends.base.base import NO_DB_ALIAS

from devices.database import nodes, placement
from devices.database.errors import Trouble, trouble_of
from devices.models import Device, DeviceState
from devices.tests.fixtures import shard_of

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]

NAMES = [f"mote-{n}" for n in range(20)]
AWAY = [name for name in NAMES if shard_of(name) == 1]
THERE = [name for name in NAMES if shard_of(name) != 1]


@pytest.fixture
def watch(five_shards: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> nodes.Watch:
    """The watch of this process, which thinks that the node of shard 1 is away."""
    watch = nodes.Watch()
    watch.places, watch.away = {shard: 2 if shard == 1 else 1 for shard in range(5)}, frozenset([2])
    monkeypatch.setattr(nodes, "watch", watch)
    return watch


def test_only_devices_of_the_node_that_is_away_are_refused(watch):
    watch.require(THERE)
    with pytest.raises(nodes.NodeAway) as raised:
        watch.require(THERE + AWAY[:1])
    assert trouble_of(raised.value) is Trouble.UNREACHABLE


def test_nothing_is_sent_to_the_node_that_is_away(watch, django_assert_num_queries):
    Device.objects.register_all([{"device_id": name} for name in NAMES])
    watch.require(THERE)
    with transaction.atomic():
        DeviceState.objects.lock(THERE)
        for lock in (DeviceState.objects.lock, DeviceState.objects.lock_at_version):
            with pytest.raises(nodes.NodeAway), django_assert_num_queries(0):
                lock([AWAY[0]])


def test_questions_about_its_devices_are_503_at_once(watch, admin):
    Device.objects.register_all([{"device_id": name} for name in NAMES])
    for path in ("", "/history", "/aggregate", "/latest"):
        answer = admin.get(f"/api/v1/devices/{AWAY[0]}{path}")
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable"), path
        assert answer["Retry-After"]
    assert admin.get(f"/api/v1/devices/{THERE[0]}/history").status_code == 200


def test_health_says_that_a_node_is_away(watch, anyone):
    answer = anyone.get("/health")
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["checks"]["nodes"]) == ("degraded", "unavailable")


def test_it_looks_until_every_node_answers(five_shards, monkeypatch):
    found = iter([frozenset([2]), frozenset([2]), frozenset[int]()])
    looked, ended = [], threading.Event()
    watch = nodes.Watch()

    def nodes_away(alone: object) -> tuple[dict[int, int], frozenset[int]]:
        away = next(found)
        looked.append(away)
        if not away:
            ended.set()
        return {}, away

    monkeypatch.setattr(nodes, "nodes_away", nodes_away)
    monkeypatch.setattr(nodes, "PAUSE_SECONDS", 0.01)
    watch.suspect()
    assert ended.wait(5)
    assert looked == [{2}, {2}, set()]


def test_a_coordinator_that_does_not_answer_makes_no_node_away(watch, monkeypatch):
    def nodes_away(alone: object) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(nodes, "nodes_away", nodes_away)
    watch.look()
    assert not watch.away
    watch.require(NAMES)


def test_a_coordinator_that_goes_away_while_it_is_asked_makes_no_node_away(monkeypatch):
    monkeypatch.setattr(placement, "NODES", "SELECT 1, 1")
    monkeypatch.setattr(nodes, "WORKERS", "VALUES (1, 'a', 5432), (2, 'b', 5432)")
    monkeypatch.setattr(nodes, "ANSWERS", "SELECT pg_terminate_backend(pg_backend_pid()), %s::text, %s::integer")
    alone = connection.copy(NO_DB_ALIAS)
    try:
        with pytest.raises(DatabaseError):
            nodes.nodes_away(alone)
    finally:
        alone.close()


def test_a_node_that_does_not_answer_in_time_is_away_and_the_next_one_is_asked(monkeypatch):
    monkeypatch.setattr(placement, "NODES", "SELECT 10, 1 UNION ALL SELECT 20, 2")
    monkeypatch.setattr(nodes, "WORKERS", "VALUES (1, 'a', 5432), (2, 'b', 5432)")
    monkeypatch.setattr(
        nodes, "ANSWERS", "SELECT pg_sleep(CASE %s WHEN 'a' THEN 9 ELSE 0 END) IS NOT NULL, %s::integer"
    )
    monkeypatch.setattr(nodes, "ON_NODE", "SELECT '0', %s::text, %s::integer, %s::text")
    monkeypatch.setattr(nodes, "ANSWER_SECONDS", 0.2)
    alone = connection.copy(NO_DB_ALIAS)
    try:
        assert nodes.nodes_away(alone) == ({10: 1, 20: 2}, frozenset([1]))
    finally:
        alone.close()


def test_a_look_that_fails_for_any_reason_refuses_no_device(watch, monkeypatch):
    def nodes_away(alone: object) -> None:
        raise ValueError("unexpected")

    monkeypatch.setattr(nodes, "nodes_away", nodes_away)
    watch.look()
    assert not watch.away


def test_one_database_is_never_asked(monkeypatch, settings):
    settings.DISTRIBUTED = False
    watch = nodes.Watch()
    watch.suspect()
    assert watch.thread is None
