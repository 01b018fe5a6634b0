"""Random operations on logs and a model of them: whatever upkeep does, each reading is there once, as it was stored."""

import random
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings as django_settings
from django.db import connection

from devices.models import Device, DeviceState
from devices.tests.examples import examples
from readings.log import reader
from readings.log.reader import Window
from readings.models import Rollup
from readings.statistics.planning import floor
from readings.statistics.tiers import HOURS, MINUTES
from readings.tests.logs import NOON, new, state_of, store
from readings.tests.upkeep.sealing.logs import known_ids, raising, sealed_of, stored
from readings.upkeep import retention, rollups
from readings.upkeep.erasure import erase
from readings.upkeep.passes import Rotation
from readings.upkeep.rollups import SeqRange
from readings.upkeep.sealing import candidates, marks, seal, stored_segments
from readings.upkeep.sealing.candidates import Sealable
from readings.upkeep.sealing.expiry import EDGE_DELAY
from readings.upkeep.sealing.known_ids import IDS_KEPT
from readings.upkeep.sealing.unseal import unseal_last
from readings.upkeep.verification.log import verify

pytestmark = pytest.mark.django_db(transaction=True)

OPERATIONS = {
    "post": 10,
    "post_late": 5,
    "repeat": 5,
    "roll_up": 6,
    "begin_minutes": 1,
    "note": 6,
    "seal": 8,
    "retain": 3,
    "unseal": 3,
    "end_marks": 2,
    "erase": 1,
    "wait": 5,
}
VALUES = [20.0, 21, 1 / 3, 1e300, 1e16, -5.25, 5e-324, 2**53]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(stored_segments, "SEGMENT_READINGS_MAX", 20)
    monkeypatch.setattr(seal, "SEGMENT_READINGS_MAX", 20)
    monkeypatch.setattr(candidates, "WORTHWHILE", 6)
    monkeypatch.setitem(seal.STEP_READINGS, connection.vendor, 45)
    monkeypatch.setitem(rollups.STEP_READINGS, connection.vendor, 25)


class Log:
    """A device, what should be stored of it, and the operations."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.device_id = f"mote-{seed}"
        self.device = Device.objects.register(device_id=self.device_id)[0]
        self.now = NOON
        self.model: dict[int, tuple[str, datetime]] = {}  # by seq: its text and time
        self.given: dict[int, tuple[UUID, datetime]] = {}  # by seq: the id that the client gave, and the receipt

    def post(self, *, back: float = 0) -> None:
        chance = self.chance
        readings = []
        for _ in range(chance.choice([1, 3, 40])):
            self.now += timedelta(seconds=chance.choice([0, 1, 7.5, 600]), microseconds=chance.randrange(10**6))
            names = [name for name in ("co2", "a", "zz") if chance.random() < 0.5]
            extra = {name: chance.choice(VALUES) for name in names}
            when = self.now - timedelta(days=back * chance.random())
            identifier = UUID(int=chance.getrandbits(128)) if chance.random() < 0.5 else None
            readings.append(new(self.device_id, when, id=identifier, temperature=chance.random(), extra=extra))
        for outcome in store(readings, self.now):
            reading = outcome.reading
            assert reading is not None
            ordered = {name: reading.extra[name] for name in sorted(reading.extra)}
            extra = {name: as_read(value) for name, value in ordered.items()}
            self.model[reading.seq] = (text_of(reading, extra), reading.timestamp)
            if any(reading.id == sent.id for sent in readings):
                self.given[reading.seq] = reading.id, self.now

    def post_late(self) -> None:
        self.post(back=20)

    def repeat(self) -> None:
        """Sends readings again that were received less than 35 days ago: they are recognised, sealed or not."""
        recent = [seq for seq, (_, at) in self.given.items() if seq in self.model and self.now - at < IDS_KEPT]
        chosen = self.chance.sample(recent, min(3, len(recent)))
        for outcome, seq in zip(
            store(new(self.device_id, id=self.given[seq][0]) for seq in chosen), chosen, strict=True
        ):
            assert outcome.duplicate
            assert repr(outcome.reading) == self.model[seq][0]

    def roll_up(self) -> None:
        rollups.roll_up(self.chance.choice([HOURS, MINUTES]))

    def begin_minutes(self) -> None:
        rollups.begin_minutes({self.device_id})

    def note(self) -> None:
        marks.note(now=self.now)

    def seal(self) -> None:
        before = self.now - timedelta(days=self.chance.choice([0, 0.01, 1]))
        sum(seal.seal(before=before, now=self.now, rotation=Rotation(), failed=raising))

    def retain(self) -> None:
        days = self.chance.choice([1, 5, 30])
        Device.objects.filter(pk=self.device.pk).update(retention_days=days)
        state = state_of(self.device_id)
        border = floor(self.now - timedelta(days=days), HOURS)
        expiry = retention.expiry_of(self.device_id, days, None, now=self.now)
        assert expiry is not None
        expected = expiry.count()
        before = len(self.model)
        moves = state.raw_from is None or state.raw_from < border
        deleted = sum(retention.expire(now=self.now) if moves else retention.deletions(expiry))
        assert not moves or deleted == expected
        # A segment at the edge is written again at most once a day.
        at_edge = {reading.seq for reading in sealed_of(self.device_id)}
        self.model = {
            seq: entry
            for seq, entry in self.model.items()
            if entry[1] >= border
            or seq > state.rolled_up_seq
            or seq == state.latest_seq
            or (entry[1] >= border - EDGE_DELAY and seq in at_edge)
        }
        assert not moves or deleted == before - len(self.model)

    def unseal(self) -> None:
        for _ in range(self.chance.choice([1, 2, 99])):
            if unseal_last(self.device_id) is None:
                break

    def end_marks(self) -> None:
        sum(marks.end(now=self.now))

    def erase(self) -> None:
        if self.chance.random() < 0.3:
            assert sum(erase(self.device, with_device=False)) == len(self.model)
            self.model = {}

    def wait(self) -> None:
        self.now += timedelta(days=self.chance.choice([0.02, 1, 8, 20]))

    def check(self) -> None:
        assert stored(self.device_id) == [self.model[seq][0] for seq in sorted(self.model)]
        self.check_answers()
        state = state_of(self.device_id)
        assert 0 <= state.sealed_seq <= state.rolled_up_seq <= state.last_seq
        ids = known_ids(self.device_id)
        for identifier, seq in ids.items():
            assert seq <= state.sealed_seq
            assert str(identifier) in self.model[seq][0]

    def check_answers(self) -> None:
        """The reader of the log gives what is in the model, by number and by time, in pages of any size."""
        log = reader.logs_after({self.device_id: 0}, limit=100_000)
        assert [repr(reading) for reading in log] == [self.model[seq][0] for seq in sorted(self.model)]
        assert reader.count(self.device_id) == len(log)
        after, limit = self.chance.randrange(len(log) + 2), self.chance.choice([1, 10, 100])
        if log:
            position = log[min(after, len(log) - 1)].seq
            following = [reading for reading in log if reading.seq > position]
            assert reader.logs_after({self.device_id: position}, limit=limit) == following[:limit]
        log.sort(key=lambda reading: (reading.timestamp, reading.seq))
        window = Window(self.device_id)
        assert reader.page(window, limit=limit) == log[:limit]
        assert reader.page(window, limit=limit, descending=True) == log[::-1][:limit]

    def finish(self) -> None:
        """Rolls all up and verifies, also that the rollups by hour count every reading that there has been."""
        while rollups.roll_up(HOURS) or rollups.roll_up(MINUTES):
            pass
        self.check()
        assert list(verify(self.device_id)) == []


def as_read(value: Any) -> Any:
    return float(value) if abs(value) > 2**53 else value


def text_of(reading: Any, extra: dict[str, Any]) -> str:
    return repr(type(reading)(*(getattr(reading, name) for name in reading.__struct_fields__[:-1]), extra))


@pytest.mark.examples
@pytest.mark.parametrize("seed", range(examples(3, of=12)))
def test_each_reading_is_stored_once_whatever_happens(db, seed):
    log = Log(seed)
    names, weights = list(OPERATIONS), list(OPERATIONS.values())
    for _ in range(60):
        getattr(log, log.chance.choices(names, weights)[0])()
        log.check()
    log.finish()


def test_the_operations_do_what_they_are_for(db):
    """Otherwise the test above could pass because nothing is ever sealed."""
    log = Log(99)
    log.post()
    for _ in range(10):
        log.post()
        log.post_late()
    while rollups.roll_up(HOURS):
        pass
    log.note()
    log.now += timedelta(days=9)
    log.seal()
    assert state_of(log.device_id).sealed_seq > 20
    log.begin_minutes()
    (behind,) = rollups.behind(MINUTES, readings=1000)
    assert behind == SeqRange(log.device_id, 0, state_of(log.device_id).sealed_seq, sealed=True, cut=behind.cut)
    log.finish()
    assert Rollup.objects.filter(seconds=60).exists()
    assert DeviceState.objects.get().rolled_up_minutes_seq == state_of(log.device_id).last_seq
    assert isinstance(Sealable("a", 1, 2, NOON, 0).length, int)
    assert django_settings.SEAL_AFTER_DAYS
