"""Retention and erasure of sealed readings, by days and by size."""

from datetime import timedelta
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from devices.models import Device
from readings.log.damage import LogDamaged
from readings.models import ReceiptMark, SealedId, Segment
from readings.tests.logs import NOON, at, new, state_of, store
from readings.tests.upkeep.sealing.logs import (
    YEARS_LATER,
    damage,
    days,
    known_ids,
    rows_of,
    seal_all,
    sealed_of,
    segments_of,
    stored,
)
from readings.upkeep import retention
from readings.upkeep.maintenance import maintain
from readings.upkeep.sealing import candidates, expiry, seal, size_limit, stored_segments

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def small_segments(monkeypatch):
    monkeypatch.setattr(stored_segments, "SEGMENT_READINGS_MAX", 100)
    monkeypatch.setattr(seal, "SEGMENT_READINGS_MAX", 100)


@pytest.fixture
def log(device, other_device):
    """Two devices, each with a reading every half hour for ten days: 480, all sealed; each 20th is three days late."""
    for name in ("mote-1", "mote-2"):
        times = (at(1800 * n - (259_200 if n % 20 == 9 else 0)) for n in range(480))
        store(new(name, when, id=uuid4(), temperature=n / 10) for n, when in enumerate(times))
    seal_all()
    return sealed_of()


def expire(now=None):
    return sum(retention.expire(now=now or at(10 * 86_400)))


def test_whole_segments_go_and_the_ones_at_the_edge_are_written_again(log, settings):
    settings.RETENTION_DAYS = 4
    border = at(6 * 86_400)
    expected = [reading for reading in log if reading.timestamp >= border]
    assert expire() == 2 * (480 - len(expected))
    assert stored() == [repr(reading) for reading in expected]
    assert rows_of() == []
    assert min(segment.first_at for segment in segments_of()) >= border
    assert set(known_ids().values()) == {reading.seq for reading in expected}
    assert len(stored("mote-2")) == len(expected)


def test_it_is_foretold(log, settings):
    settings.RETENTION_DAYS = 4
    foretold = sum(expiry.count() for page in retention.expiries(now=at(10 * 86_400)) for expiry in page)
    assert foretold == expire() > 500


def test_a_segment_at_the_edge_is_written_again_once_a_day(log, settings):
    settings.RETENTION_DAYS = 4
    expire()
    before = segments_of()
    for hour in range(1, 12):
        assert expire(at(10 * 86_400 + 3600 * hour)) == 0
    assert segments_of() == before
    assert expire(at(11 * 86_400 + 57_600)) > 0
    assert sealed_of() == [reading for reading in log if reading.timestamp >= at(7 * 86_400 + 57_600)]


def test_of_a_silent_device_nothing_is_decoded_again(log, settings, monkeypatch):
    settings.RETENTION_DAYS = 1
    expire(YEARS_LATER)
    monkeypatch.setattr(expiry, "readings_of", lambda segment: pytest.fail("decoded"))
    assert expire(YEARS_LATER + days(2)) == 0


def test_the_latest_reading_stays(log, settings):
    settings.RETENTION_DAYS = 1
    expire(YEARS_LATER)
    latest = max(log, key=lambda reading: reading.timestamp)
    assert stored() == [repr(latest)]
    assert expire(YEARS_LATER + days(1)) == 0
    assert len(segments_of()) == 1


def test_rows_and_segments_go_by_the_same_border(log, settings):
    settings.RETENTION_DAYS = 4
    store(new(timestamp=at(10 * 86_400 - 1800 * n)) for n in range(300))
    maintain(now=at(10 * 86_400), retention=False, sealing=False)
    expire()
    assert all(reading.timestamp >= at(6 * 86_400) for reading in rows_of() + sealed_of())
    assert len(rows_of()) == 193


def test_many_segments_go_in_chunks(log, settings, monkeypatch):
    monkeypatch.setattr(expiry, "CHUNK_SEGMENTS", 2)
    settings.RETENTION_DAYS = 2
    steps = [count for count in retention.expire(now=at(10 * 86_400)) if count]
    assert max(steps) == 200
    assert len(steps) >= 6
    assert all(reading.timestamp >= at(8 * 86_400) for reading in sealed_of())


def test_a_segment_at_the_edge_can_be_filled_up_between_two_steps(device, monkeypatch):
    """Retention that reached its time limit goes on in a later round, when that one has sealed more."""
    monkeypatch.setattr(candidates, "WORTHWHILE", 1)
    monkeypatch.setattr(expiry, "EDGE_DELAY", days(0))
    hours = [*range(60), *range(10, 40)]  # the latter are late, and get a segment of their own
    store(new(timestamp=at(3600 * hour)) for hour in hours)
    seal_all()
    border = at(3600 * 20)
    assert all(segment.first_at < border <= segment.last_at for segment in segments_of())

    steps = retention.deletions(retention.Expiry("mote-1", "", border))
    while next(steps) != 20:
        pass
    store(new(timestamp=at(3600 * hour)) for hour in range(41, 51))
    added = [repr(reading) for reading in rows_of()]
    assert seal_all(now=YEARS_LATER + days(9)) == 10

    assert sum(steps) == 10
    assert stored()[-10:] == added
    assert len(stored()) == 60 - 20 + 30 - 10 + 10


def test_an_id_stays_known_while_an_earlier_reading_with_it_goes(device):
    """An id that was forgotten and sent again: its first reading expires, and a repeated post is recognised."""
    given = [uuid4() for _ in range(300)]
    store(new(timestamp=at(60 * n), id=one) for n, one in enumerate(given))
    seal_all()
    SealedId.objects.all().delete()
    store(new(timestamp=at(9 * 86_400 + 60 * n), id=one) for n, one in enumerate(given))
    seal_all(now=YEARS_LATER + days(9))
    assert sum(retention.deletions(retention.Expiry("mote-1", "", at(86_400)))) == 300
    assert known_ids() == {one: 301 + n for n, one in enumerate(given)}
    assert store([new(timestamp=at(9 * 86_400), id=given[0])])[0].duplicate


def test_a_damaged_segment_goes_as_a_whole_but_is_not_written_again(log, settings):
    first, *_, last = [segment for segment in segments_of() if not segment.late]
    damage(first)
    settings.RETENTION_DAYS = 4
    expire()
    assert not Segment.objects.filter(device_id="mote-1", first_seq=first.first_seq).exists()
    damage(last)
    failed = []
    list(retention.expire(now=YEARS_LATER, failed=lambda expiry, error: failed.append((expiry.device_id, error))))
    ((device_id, error),) = failed
    assert device_id == "mote-1"
    assert isinstance(error, LogDamaged)
    assert len(segments_of()) == 1
    assert len(stored("mote-2")) == 1


def test_erasing_takes_both_forms_and_all_that_belongs_to_them(log):
    store(new(timestamp=at(10 * 86_400 + n)) for n in range(7))
    call_command("erase_device", "mote-1", "--yes", stdout=(out := StringIO()))
    assert "Erased 487 readings of mote-1" in out.getvalue()
    assert (stored(), known_ids(), state_of().sealed_seq) == ([], {}, 487)
    assert not ReceiptMark.objects.filter(device_id="mote-1").exists()
    assert len(stored("mote-2")) == 480
    store([new(timestamp=at(11 * 86_400))])
    assert len(stored()) == 1
    seal_all(now=YEARS_LATER + days(8))
    seal_all(now=YEARS_LATER + days(16))
    assert (len(rows_of()), state_of().sealed_seq) == (0, 488)


def test_erasing_the_device_too(log):
    call_command("erase_device", "mote-1", "--yes", "--with-device", stdout=StringIO())
    for model in (Segment, SealedId, ReceiptMark, Device):
        assert not model.objects.filter(device_id="mote-1").exists()


def limit_to(settings, share: float) -> int:
    """Sets RETENTION_GB to this share of what is stored; returns what is stored, in bytes."""
    total = size_limit.stored_bytes()
    settings.RETENTION_GB = total * share / size_limit.GB
    return total


def test_the_oldest_readings_of_all_devices_go_if_there_are_too_many(log, settings):
    total = limit_to(settings, 0.6)
    assert expire() > 0
    assert 0.3 * total < size_limit.stored_bytes() <= 0.6 * total
    borders = {name: min(reading.timestamp for reading in sealed_of(name)) for name in ("mote-1", "mote-2")}
    assert borders["mote-1"] == borders["mote-2"]
    raw_from = state_of().raw_from
    assert raw_from is not None
    assert days(0) <= raw_from - borders["mote-1"] <= expiry.EDGE_DELAY
    assert expire() == 0, "not more than needed, though files do not shrink"


def test_a_limit_above_what_is_stored_deletes_nothing(log, settings):
    limit_to(settings, 1.01)
    assert size_limit.size_border(now=YEARS_LATER) is None
    assert expire() == 0


def test_a_device_that_keeps_its_readings_for_ever_keeps_them(log, settings):
    Device.objects.filter(device_id="mote-2").update(retention_days=0)
    limit_to(settings, 0.1)
    expire(at(12 * 86_400))
    assert len(stored("mote-2")) == 480
    assert len(stored()) < 60


def test_days_and_size_both_count(log, settings):
    settings.RETENTION_DAYS = 1
    limit_to(settings, 0.9)
    expire()
    assert all(reading.timestamp >= at(9 * 86_400) - expiry.EDGE_DELAY for reading in sealed_of())
    settings.RETENTION_DAYS = 9
    limit_to(settings, 0.3)
    assert expire(at(12 * 86_400)) > 0


def test_rows_count_but_only_sealed_readings_go(device, settings):
    store(new(timestamp=at(n)) for n in range(300))
    assert limit_to(settings, 0.5) == 300 * size_limit.ROW_BYTES[connection.vendor]
    assert expire() == 0
    assert len(rows_of()) == 300


def test_sealed_readings_of_a_wrong_clock_take_no_rows_with_them(log, settings):
    store([new(timestamp=at(400 * 86_400))])
    seal_all(now=YEARS_LATER + days(1))
    assert seal_all(now=YEARS_LATER + days(8)) == 1
    rows = 9000
    store(new("mote-2", at(10 * 86_400 + 10 * n)) for n in range(rows))
    maintain(now=at(12 * 86_400), retention=False, sealing=False)
    settings.RETENTION_GB = 1e-6
    expire(at(12 * 86_400))
    assert state_of().raw_from == at(10 * 86_400)
    assert len(rows_of("mote-2")) == rows


def test_the_command_names_the_limit(log, settings):
    limit_to(settings, 0.5)
    call_command("maintain", "--dry-run", stdout=(out := StringIO()))
    assert "UTC (RETENTION_GB)" in out.getvalue()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seal-before", "now"], "--seal-before needs --once"),
        (["--once", "--seal-before", "20250101"], "--seal-before: "),
    ],
)
def test_the_command_refuses_times_that_mean_nothing(db, arguments, words):
    with pytest.raises(CommandError, match=words):
        call_command("maintain", *arguments, stdout=StringIO())


def test_the_command_does_not_seal_where_sealing_is_off(db, settings):
    settings.SEAL_AFTER_DAYS = 0
    with pytest.raises(CommandError, match="SEAL_AFTER_DAYS is 0"):
        call_command("maintain", "--once", "--seal-before", "now", stdout=StringIO())


def test_the_command_seals_what_was_noted_before_a_time(device):
    store(new(timestamp=at(n)) for n in range(300))
    call_command("maintain", "--once", stdout=StringIO())
    assert len(rows_of()) == 300
    call_command("maintain", "--once", "--seal-before", (NOON - timedelta(days=1)).isoformat(), stdout=StringIO())
    assert len(rows_of()) == 300
    call_command("maintain", "--once", "--seal-before", "now", stdout=(out := StringIO()))
    assert "300 sealed" in out.getvalue()
    assert rows_of() == []
