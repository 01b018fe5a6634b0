"""Questions that run while the same readings are sealed and unsealed in another thread see each reading once."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction

from devices.models import DeviceState
from readings.log import reader
from readings.log.entries import StoredReading
from readings.log.reader import Window
from readings.statistics.aggregation import aggregate
from readings.statistics.statement import Question
from readings.tests.logs import at, new, state_of, store
from readings.tests.upkeep.sealing.logs import raising, roll_all_up, rows_of
from readings.upkeep.passes import Rotation
from readings.upkeep.sealing import marks, seal, stored_segments
from readings.upkeep.sealing.unseal import unseal_last

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

READINGS = 700
SECONDS = 6.0
LATER = at(400 * 86_400)


@pytest.fixture
def log(device, monkeypatch) -> list[StoredReading]:
    """700 readings, one a minute; every eleventh is up to two days late."""
    monkeypatch.setattr(stored_segments, "SEGMENT_READINGS_MAX", 64)
    monkeypatch.setattr(seal, "SEGMENT_READINGS_MAX", 64)
    monkeypatch.setitem(seal.STEP_READINGS, connection.vendor, 300)
    chance = random.Random(4)
    times = (at(60 * n - (chance.randrange(172_800) if n % 11 == 0 else 0)) for n in range(READINGS))
    store(new(timestamp=when, id=uuid4(), temperature=1.0, extra={"n": n}) for n, when in enumerate(times))
    roll_all_up()
    marks.note(now=LATER)
    return rows_of()


def seal_and_unseal() -> None:
    """Seals step by step, and then unseals step by step."""
    for _ in seal.seal(before=LATER, now=LATER, rotation=Rotation(), failed=raising):
        pass
    while unseal_last("mote-1"):
        pass


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Repeats the work in a thread for SECONDS, at least twice; yields whether it goes on. Fails if the work does."""
    failures: list[Exception] = []
    turns = 0
    over = threading.Event()
    timer = threading.Timer(SECONDS, over.set)

    def run() -> None:
        nonlocal turns
        try:
            while not over.is_set():
                work()
                turns += 1
        except Exception as error:
            failures.append(error)
        finally:
            over.set()
            connection.close()

    thread = threading.Thread(target=run)
    timer.start()
    thread.start()
    try:
        yield lambda: not over.is_set()
    finally:
        over.set()
        thread.join()
        timer.cancel()
    assert failures == []
    assert turns >= 2


def by_time(readings: list[StoredReading]) -> list[StoredReading]:
    return sorted(readings, key=lambda reading: (reading.timestamp, reading.seq))


def pages(chance: random.Random, log: list[StoredReading]) -> None:
    """A window of the log in pages of random size: each of them is one question."""
    start = at(chance.randrange(-100_000, 60 * READINGS))
    end = start + timedelta(seconds=chance.randrange(1, 90_000))
    descending = chance.random() < 0.5
    expected = [reading for reading in by_time(log) if start <= reading.timestamp < end]
    if descending:
        expected.reverse()
    beyond = None
    found: list[StoredReading] = []
    while True:
        limit = chance.choice([1, 7, 100, 1000])
        page = reader.page(Window("mote-1", start, end), limit=limit, descending=descending, beyond=beyond)
        found += page
        if len(page) < limit:
            break
        beyond = page[-1].timestamp, page[-1].seq
    assert found == expected


def entries(chance: random.Random, log: list[StoredReading]) -> None:
    after, limit = chance.randrange(READINGS + 5), chance.choice([1, 50, 2000])
    assert reader.logs_after({"mote-1": after}, limit=limit) == log[after : after + limit]


def numbers(chance: random.Random, log: list[StoredReading]) -> None:
    assert reader.count("mote-1") == len(log)
    assert reader.oldest_at("mote-1") == min(reading.timestamp for reading in log)


def ids(chance: random.Random, log: list[StoredReading]) -> None:
    """As the write path asks: with the log locked."""
    chosen = {reading.seq: reading for reading in chance.sample(log, 5)}
    with transaction.atomic():
        DeviceState.objects.lock(["mote-1"])
        found = reader.by_ids([("mote-1", reading.id) for reading in chosen.values()])
    assert {reading.seq: reading for reading in found} == chosen
    assert len(found) == 5


def statistics(chance: random.Random, log: list[StoredReading]) -> None:
    """A window that begins and ends inside an hour, so that its edges are added up from readings."""
    start = at(chance.randrange(-100_000, 60 * READINGS) + 0.5)
    end = start + timedelta(seconds=chance.randrange(1, 90_000))
    question = Question(start, end)
    found = aggregate(question, state_of()).total(question)
    expected = sum(start <= reading.timestamp < end for reading in log)
    assert sum(found[name].count for name in found if name == "temperature") == expected


QUESTIONS: list[Callable[[random.Random, list[StoredReading]], None]] = [pages, entries, numbers, ids, statistics]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.__name__)
def test_a_question_sees_each_reading_once(log, question):
    chance = random.Random(7)
    asked = 0
    with meanwhile(seal_and_unseal) as going_on:
        while going_on():
            question(chance, log)
            asked += 1
            time.sleep(0.005)  # SQLite lets the other thread write only if it happens to try meanwhile
    assert asked > 20
    assert sorted(reader.logs_after({"mote-1": 0}, limit=1000), key=lambda reading: reading.seq) == log


def test_posts_go_on_while_older_readings_are_sealed(log):
    """A post waits for the lock of its device, and for nothing else."""
    posted: list[Any] = []
    with meanwhile(seal_and_unseal) as going_on:
        while going_on():
            posted += store([new(timestamp=at(90_000 + len(posted)), temperature=float(len(posted)))])
    assert [outcome.reading.seq for outcome in posted] == list(range(READINGS + 1, READINGS + 1 + len(posted)))
    assert reader.count("mote-1") == READINGS + len(posted)
    assert len(posted) > 20
