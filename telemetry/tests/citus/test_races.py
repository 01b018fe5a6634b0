"""What readers see of transactions over several nodes while these commit."""

import itertools
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
from django.db import connection

from devices.models import DeviceState
from readings.models import Reading
from readings.statistics.aggregation import aggregate
from readings.statistics.statement import Question
from readings.statistics.tiers import HOURS, MINUTES
from readings.tests.logs import at, make_devices, new, store
from readings.upkeep.failures import Outrun
from readings.upkeep.rollups import begin_minutes, roll_up

pytestmark = [pytest.mark.citus, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

# How long each test looks.
SECONDS = float(os.environ.get("CITUS_SECONDS", "10"))
# Over several nodes in any cluster, and with several writers for each.
NAMES = [f"node-{number:04}" for number in range(12)]


@contextmanager
def commits() -> Iterator[tuple[threading.Event, list[tuple[str, int]]]]:
    """Two writers, whose transactions reach over several nodes, and roll-ups, until the block ends.

    The event is set when one of them fails. The list has the unit and the number of readings of each roll-up.
    Raises what any of them raised.
    """
    make_devices(len(NAMES))
    begin_minutes(set(NAMES))
    ended = threading.Event()
    rolled_up: list[tuple[str, int]] = []
    numbers = itertools.count()

    def write(chance: random.Random) -> None:
        number = next(numbers)
        store(new(name, at(60 * number)) for name in chance.sample(NAMES, 6))

    def add_up(chance: random.Random) -> None:
        with suppress(Outrun):  # a writer was faster
            tier = chance.choice((HOURS, MINUTES))
            if readings := roll_up(tier):
                rolled_up.append((tier.unit, readings))

    def repeat(step: Callable[[random.Random], None], seed: int) -> None:
        chance = random.Random(seed)
        try:
            while not ended.is_set():
                step(chance)
        finally:
            ended.set()
            connection.close()

    with ThreadPoolExecutor() as threads:
        steps = (write, write, add_up)
        running: list[Future[None]] = [threads.submit(repeat, step, seed) for seed, step in enumerate(steps)]
        try:
            yield ended, rolled_up
        finally:
            ended.set()
    for each in running:
        each.result()


def looks(ended: threading.Event) -> Iterator[str]:
    """The devices in turn, for SECONDS."""
    deadline = time.monotonic() + SECONDS
    for name in itertools.cycle(NAMES):
        if time.monotonic() > deadline or ended.is_set():
            return
        yield name


def test_nobody_sees_the_end_of_a_log_before_its_readings():
    seen, missing = 0, []
    with commits() as (ended, _):
        for name in looks(ended):
            last_seq = DeviceState.objects.values_list("last_seq", flat=True).get(device_id=name)
            if last_seq and not Reading.objects.filter(device_id=name, seq=last_seq).exists():
                missing.append((name, last_seq))
            seen += 1
    print(f"{seen} looks, {len(missing)} before the readings")
    assert seen
    assert missing == []


def test_statistics_never_go_backwards():
    question = Question(at(0), at(3600 * 24 * 365))
    newest = dict.fromkeys(NAMES, 0)
    seen, backwards = 0, []
    with commits() as (ended, rolled_up):
        for name in looks(ended):
            state = DeviceState.objects.get(device_id=name)
            found = aggregate(question, state).total(question)
            count = found["temperature"].count if found else 0
            if count < max(newest[name], state.last_seq):
                backwards.append((name, count, newest[name], state.last_seq))
            newest[name] = count
            seen += 1
    total = sum(readings for _, readings in rolled_up)
    print(f"{seen} statistics, {len(backwards)} backwards, {len(rolled_up)} roll-ups of {total} readings")
    assert max(newest.values()) > 0
    assert {unit for unit, _ in rolled_up} == {"hour", "minute"}
    assert backwards == []
