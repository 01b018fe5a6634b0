"""What is sealed, when, and into which segments."""

import random
import threading
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import DataError, connection

from devices.models import DeviceState
from readings import instruments
from readings.alarms.tests.rules import evaluate, make_rule
from readings.log.ids import derived_ids, uuid7
from readings.models import Reading, Segment
from readings.tests.logs import NOON, at, make_devices, new, state_of, store
from readings.tests.upkeep.sealing.logs import (
    YEARS_LATER,
    damage,
    days,
    known_ids,
    rows_of,
    seal_all,
    seal_up_to,
    sealed_of,
    segments_of,
    stored,
)
from readings.upkeep import maintenance
from readings.upkeep.clock import TrustedTime
from readings.upkeep.failures import Outrun
from readings.upkeep.maintenance import Maintainer, maintain
from readings.upkeep.sealing import candidates, marks, seal, stored_segments
from readings.upkeep.sealing.stored_segments import NotAsEncoded

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def trusted_clock(monkeypatch):
    """Maintenance takes every time of the test for a right one."""
    monkeypatch.setattr(maintenance, "trusted_time", lambda last, *, now, uptime: TrustedTime(now, None))


@pytest.fixture
def log(device):
    """300 readings, one a minute."""
    store(new(timestamp=at(60 * n), temperature=20 + n / 7, extra={"rssi": -60 - n % 9}) for n in range(300))
    return stored()


def kinds() -> list[tuple[int, int, bool]]:
    return [(segment.count, segment.first_seq, segment.late) for segment in segments_of()]


def test_rows_become_a_segment_with_the_same_readings(log):
    sealed_before = instruments.SEALED._value.get()
    assert seal_all() == 300
    assert (len(rows_of()), kinds(), state_of().sealed_seq) == (0, [(300, 1, False)], 300)
    assert stored() == log
    assert instruments.SEALED._value.get() == sealed_before + 300


def test_only_rolled_up_readings_are_sealed(log):
    marks.note(now=NOON)
    assert seal_up_to(NOON) == 0
    DeviceState.objects.update(rolled_up_seq=290)
    assert seal_up_to(NOON) == 290
    assert stored() == log


def test_readings_wait_for_their_rollup_by_minute(log):
    marks.note(now=NOON)
    DeviceState.objects.update(rolled_up_seq=300, rolled_up_minutes_seq=256)
    assert seal_up_to(NOON) == 256
    DeviceState.objects.update(rolled_up_minutes_seq=0)
    assert seal_up_to(NOON) == 0


def test_readings_wait_for_the_alarm_rules_that_judge_them(log):
    rule = make_rule(metric="temperature", above=99.0, devices=("mote-1",))
    store(new(timestamp=at(60 * n)) for n in range(300, 600))
    assert seal_all() == 0
    evaluate(YEARS_LATER)
    assert seal_up_to(YEARS_LATER) == 600
    store(new(timestamp=at(60 * n)) for n in range(600, 900))
    rule.is_active = False
    rule.save()
    assert seal_all(now=YEARS_LATER + days(1)) == 300


def test_readings_are_sealed_some_days_after_their_receipt(log, settings):
    settings.SEAL_AFTER_DAYS = 2
    maintain(now=NOON)
    assert maintain(now=NOON + days(1.9)).sealed == 0
    assert maintain(now=NOON + days(2)).sealed == 300
    assert stored() == log


@pytest.mark.parametrize("after", [0.01, 0.5, 30])
def test_the_number_of_days_is_a_setting(log, settings, after):
    settings.SEAL_AFTER_DAYS = after
    maintain(now=NOON)
    assert maintain(now=NOON + days(after) - timedelta(minutes=1)).sealed == 0
    assert maintain(now=NOON + days(after)).sealed == 300


def test_0_days_switch_sealing_off(log, settings):
    settings.SEAL_AFTER_DAYS = 0
    maintain(now=NOON)
    assert maintain(now=YEARS_LATER).sealed == 0
    assert not Segment.objects.exists()


def test_few_readings_wait_a_week_for_more(device):
    store(new(timestamp=at(n)) for n in range(candidates.WORTHWHILE - 1))
    assert seal_all(now=NOON) == 0
    assert seal_up_to(NOON + marks.WAIT - timedelta(seconds=1)) == 0
    assert seal_up_to(NOON + marks.WAIT) == candidates.WORTHWHILE - 1


def test_a_segment_is_filled_up_before_the_next_one_begins(device, monkeypatch):
    monkeypatch.setattr(stored_segments, "SEGMENT_READINGS_MAX", 500)
    monkeypatch.setattr(seal, "SEGMENT_READINGS_MAX", 500)
    store(new(timestamp=at(n), extra={"n": n}) for n in range(300))
    seal_all()
    store(new(timestamp=at(n), extra={"n": n}) for n in range(300, 1400))
    expected = stored()
    assert seal_all(now=YEARS_LATER + days(1)) == 1100
    assert kinds() == [(500, 1, False), (500, 501, False), (400, 1001, False)]
    assert stored() == expected


def test_late_readings_get_segments_of_their_own(device):
    chance = random.Random(3)
    late = [n for n in range(600) if chance.random() < 0.05]
    store(new(timestamp=at(60 * n - (5 * 86_400 if n in late else 0))) for n in range(600))
    expected = stored()
    seal_all()
    on_time, of_late = segments_of()
    assert {reading.seq - 1 for reading in sealed_of() if reading.timestamp < at(-86_400)} == set(late)
    assert (on_time.late, of_late.late, of_late.count) == (False, True, len(late))
    assert (on_time.first_at, on_time.last_at) == (at(0), at(60 * 599))
    store(new(timestamp=at(60 * n - (86_400 if n % 10 == 0 else 0))) for n in range(600, 900))
    expected += stored()[len(expected) :]
    seal_all(now=YEARS_LATER + days(1))
    assert [(segment.late, segment.count) for segment in segments_of()] == [
        (False, 870 - len(late)),
        (True, 30 + len(late)),
    ]
    assert stored() == expected


def test_an_hour_late_is_on_time(device):
    moments = [*(at(n) for n in range(300)), at(299 - 3600), at(299 - 3600.001)]
    store(new(timestamp=when) for when in moments)
    seal_all()
    assert kinds() == [(301, 1, False), (1, 302, True)]


def test_a_wrong_clock_does_not_make_later_readings_late(device):
    """A reading with a time after its receipt says nothing about how old the ones after it are."""
    store([new(timestamp=NOON + days(400))])
    store(new(timestamp=at(n)) for n in range(300))
    seal_all(now=NOON + days(1))
    assert kinds() == [(1, 1, True), (300, 2, False)]


def test_a_damaged_segment_is_not_filled_up(log):
    seal_all()
    damage(segments_of()[0])
    store(new(timestamp=at(60 * n)) for n in range(300, 600))
    assert seal_all(now=YEARS_LATER + days(1)) == 300
    assert kinds() == [(300, 1, False), (300, 301, False)]


def test_readings_that_retention_deleted_leave_no_trace(log):
    Reading.objects.filter(seq__gt=10, seq__lte=20).delete()
    expected = stored()
    assert seal_all() == 290
    assert (state_of().sealed_seq, stored()) == (300, expected)
    store(new(timestamp=at(60 * n)) for n in range(300, 600))
    Reading.objects.all().delete()
    assert seal_all(now=YEARS_LATER + days(1)) == 0
    assert (state_of().sealed_seq, stored()) == (600, expected)


def test_all_values_come_back(device):
    values = [1e300, 1e16, -1e-300, 5e-324, 0.1 + 0.2, 21.0, 2.0**53, 1 / 3]
    integers = [0, 21, -(2**53), 2**53, 10**16]
    store(
        new(
            timestamp=at(n), temperature=values[n % 8], extra={"z": values[n % 7], "a": integers[n % 5], "whole": n % 3}
        )
        for n in range(300)
    )
    expected = stored()
    seal_all()
    assert stored() == expected


def test_a_step_is_bounded_and_devices_take_turns(db, monkeypatch):
    names = make_devices(3)
    monkeypatch.setitem(seal.STEP_READINGS, connection.vendor, 400)
    for name, count in zip(names, (1060, 300, 1100), strict=True):
        store(new(name, at(n)) for n in range(count))
    expected = {name: stored(name) for name in names}
    assert seal_all() == 2460
    assert {name: stored(name) for name in names} == expected
    assert not Reading.objects.exists()


def test_steps_of_one_pass_visit_each_device_once(db, monkeypatch):
    names = make_devices(3)
    monkeypatch.setitem(seal.STEP_READINGS, connection.vendor, 400)
    for name in names:
        store(new(name, at(n)) for n in range(1100))
    maintain(now=NOON, sealing=False)
    marks.note(now=NOON)
    monkeypatch.setattr("random.randrange", lambda count: 1)
    visited = []
    real = seal.seal_next

    def seal_next(one):
        visited.append((one.device_id, one.after))
        return real(one)

    monkeypatch.setattr(seal, "seal_next", seal_next)
    seal_up_to(NOON)
    order = [names[2], names[0], names[1]]
    assert visited == [(name, after) for after in (0, 400, 800) for name in order]


@pytest.mark.parametrize("error", [DataError("invalid page"), NotAsEncoded("other bytes"), ValueError("a fault")])
def test_a_device_that_fails_is_left_out_and_tried_again(db, monkeypatch, caplog, error):
    names = make_devices(3)
    for name in names:
        store(new(name, at(n)) for n in range(300))
    maintain(now=NOON)
    real = stored_segments.packed

    def packed(readings, *, late):
        if readings[0].device_id == names[1]:
            raise error
        return real(readings, late=late)

    failures = instruments.SEALING_FAILURES._value.get()
    maintainer = Maintainer()
    with monkeypatch.context() as patched:
        patched.setattr(seal, "packed", packed)
        for day in (2, 3):
            done = maintain(now=NOON + days(day), maintainer=maintainer)
            assert (done.sealed, done.failed) == (600 if day == 2 else 0, 1)
    assert instruments.SEALING_FAILURES._value.get() == failures + 2
    assert caplog.text.count("Sealing failed for device node-0001") == 1
    assert maintain(now=NOON + days(4), maintainer=maintainer).sealed == 300


def test_a_segment_that_does_not_come_back_is_not_stored(log, monkeypatch):
    monkeypatch.setattr(stored_segments, "decode", lambda data, device_id, key: [])
    with pytest.raises(NotAsEncoded):
        seal_all()
    assert (len(rows_of()), segments_of(), state_of().sealed_seq) == (300, [], 0)


def test_bytes_that_the_database_changes_are_not_accepted(log, monkeypatch):
    real = Segment.objects.bulk_create

    def bulk_create(segments, **options):
        changed = [Segment(**{f.attname: getattr(s, f.attname) for f in s._meta.concrete_fields}) for s in segments]
        for segment in changed:
            segment.data = bytes(segment.data) + b"\0"
        return real(changed, **options)

    monkeypatch.setattr(Segment.objects, "bulk_create", bulk_create)
    with pytest.raises(NotAsEncoded):
        seal_all()
    assert stored() == log
    assert segments_of() == []


@pytest.mark.parametrize("change", [{"sealed_seq": 7}, {"rolled_up_seq": 7}, {"rolled_up_minutes_seq": 0}])
def test_a_position_that_moved_meanwhile_ends_the_step(log, monkeypatch, change):
    real = seal.delete_rows

    def delete_rows(*arguments):
        DeviceState.objects.update(**change)
        return real(*arguments)

    monkeypatch.setattr(seal, "delete_rows", delete_rows)
    with pytest.raises(Outrun):
        seal_all()
    assert stored() == log


def test_only_ids_that_clients_gave_are_noted(log):
    """The server derives its own again, and no client sends them."""
    ids = [uuid4(), uuid7(), *derived_ids([b"text"], [1])]
    store(new(timestamp=at(20_000), id=identifier) for identifier in ids)
    seal_all()
    assert known_ids() == {identifier: 301 + place for place, identifier in enumerate(ids)}


def test_a_round_in_the_loop_pauses_between_steps(log, monkeypatch):
    """Ingest needs the disk too, and on SQLite the lock."""
    store(new(timestamp=at(n)) for n in range(600))
    monkeypatch.setitem(seal.STEP_READINGS, connection.vendor, 300)
    maintain(now=NOON)
    waited = []

    class Stop(threading.Event):
        def wait(self, timeout=None):
            waited.append(timeout)
            return False

    done = maintain(now=NOON + days(2), stop=Stop(), part_seconds=60, maintainer=Maintainer())
    assert done.sealed == 900
    assert sum(seconds > 0 for seconds in waited) >= 3
    assert maintenance.SEALING_SHARE == 0.5


def test_a_round_without_time_goes_on_in_the_next(db, monkeypatch):
    names = make_devices(4)
    for name in names:
        store(new(name, at(n)) for n in range(300))
    maintain(now=NOON)
    maintainer = Maintainer()
    done = [maintain(now=NOON + days(2), maintainer=maintainer, part_seconds=0).sealed for _ in range(4)]
    assert done == [300] * 4
    assert not Reading.objects.exists()
