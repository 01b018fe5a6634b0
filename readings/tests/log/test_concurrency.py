"""Concurrent writers: every log has no holes, nothing is stored twice, and there is no deadlock."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.db.models import Count, Max, Min

from devices.models import Device, DeviceState
from readings.log.entries import NewReading
from readings.log.recording import INACTIVE_DEVICE, Recorded
from readings.models import Reading
from readings.tests.locks import wait_until_blocking
from readings.tests.logs import make_devices, new, state_of, store

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 8
CALLS = 8
TIMEOUT_SECONDS = 30


def at_once(work: Callable[[int], list[Recorded]]) -> list[list[Recorded]]:
    """The results of `work(0)`, `work(1)`, …, each in a thread, all started at the same time."""
    start = Barrier(THREADS)

    def run(number: int) -> list[Recorded]:
        try:
            start.wait(TIMEOUT_SECONDS)
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as threads:
        return [future.result(TIMEOUT_SECONDS) for future in [threads.submit(run, n) for n in range(THREADS)]]


def test_writers_of_overlapping_devices_leave_every_log_dense():
    device_ids = make_devices(12)

    def write(number: int) -> list[Recorded]:
        chance = random.Random(number)
        outcomes: list[Recorded] = []
        for _ in range(CALLS):
            # In a different order each time: locks taken in the order of the readings would deadlock.
            chosen = chance.sample(device_ids, 6)
            outcomes += store(new(name, temperature=float(number)) for name in [*chosen, *reversed(chosen)])
        return outcomes

    outcomes = [outcome for part in at_once(write) for outcome in part]

    given = [(outcome.reading.device_id, outcome.reading.seq) for outcome in outcomes if outcome.reading]
    assert len(given) == len(set(given)) == THREADS * CALLS * 12
    logs = Reading.objects.values("device_id").annotate(count=Count("seq"), first=Min("seq"), last=Max("seq"))
    assert len(logs) == 12
    for log in logs.order_by():
        assert (log["first"], log["last"]) == (1, log["count"])
        assert state_of(str(log["device_id"])).last_seq == log["count"]


def test_ids_that_many_writers_bring_at_once_are_stored_once(mote):
    ids = [uuid4() for _ in range(40)]

    def write(number: int) -> list[Recorded]:
        mine = random.Random(number).sample(ids, len(ids))
        readings = [new(id=name) for name in mine]
        return [outcome for first in range(0, 40, 10) for outcome in store(readings[first : first + 10])]

    outcomes = [outcome for part in at_once(write) for outcome in part]

    assert sum(not outcome.duplicate for outcome in outcomes) == 40
    assert sorted(Reading.objects.values_list("seq", flat=True)) == list(range(1, 41))
    seqs: dict[UUID, set[int]] = {}
    for outcome in outcomes:
        assert outcome.reading is not None
        seqs.setdefault(outcome.reading.id, set()).add(outcome.reading.seq)
    assert all(len(said) == 1 for said in seqs.values())


def test_ids_that_two_devices_bring_at_once_are_stored_once_for_each(mote, other_device):
    ids = [uuid4() for _ in range(20)]

    def write(number: int) -> list[Recorded]:
        name = ("mote-1", "mote-2")[number % 2]
        readings: list[NewReading] = [new(name, id=shared) for shared in random.Random(number // 2).sample(ids, 20)]
        return [outcome for reading in readings for outcome in store([reading])]

    outcomes = [outcome for part in at_once(write) for outcome in part]

    assert Reading.objects.count() == sum(not o.duplicate for o in outcomes) == 40
    assert all(o.refusal is None for o in outcomes)
    for name in ("mote-1", "mote-2"):
        log = Reading.objects.filter(device_id=name).order_by("seq").values_list("seq", flat=True)
        assert list(log) == list(range(1, state_of(name).last_seq + 1))


@pytest.mark.postgresql
def test_nothing_is_stored_for_a_device_that_was_deactivated_while_its_lock_was_awaited(mote, other_device):
    """Also for a key of a fleet, which keeps its rights."""

    def write() -> list[Recorded]:
        try:
            return store([new("mote-1"), new("mote-2")])
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            DeviceState.objects.lock(["mote-1"])
            outcomes = threads.submit(write)
            wait_until_blocking()
            Device.objects.filter(pk=mote[0].pk).update(is_active=False)

        assert [outcome.refusal for outcome in outcomes.result(TIMEOUT_SECONDS)] == [INACTIVE_DEVICE, None]
    assert list(Reading.objects.values_list("device_id", flat=True)) == ["mote-2"]
