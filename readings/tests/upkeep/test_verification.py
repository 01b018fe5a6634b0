"""`manage.py check_log`: what is wrong with a log is named, and a right log is right at every moment."""

from datetime import timedelta
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from devices.models import DeviceState
from readings.log.id_key import id_key
from readings.log.segments.sealed import decode
from readings.models import Reading, Rollup, SealedId, Segment
from readings.statistics.tiers import HOURS, MINUTES
from readings.tests.logs import at, new, store
from readings.tests.upkeep.sealing.logs import damage, seal_all, segments_of
from readings.upkeep.erasure import erase
from readings.upkeep.retention import expire
from readings.upkeep.rollups import roll_up
from readings.upkeep.sealing import seal, stored_segments
from readings.upkeep.sealing.stored_segments import segment_of
from readings.upkeep.sealing.unseal import unseal_last
from readings.upkeep.verification import statistics
from readings.upkeep.verification.database import LISTED
from readings.upkeep.verification.log import verify

pytestmark = pytest.mark.django_db


@pytest.fixture
def log(device, other_device):
    """400 readings of an hour and 20 of a later one, all rolled up, and two that are not yet."""
    store(new(timestamp=at(9 * n), id=uuid4(), temperature=20 + n / 7, extra={"co2": 400 + n % 3}) for n in range(400))
    store(new(timestamp=at(7200 + 60 * n), temperature=1 / (n + 1)) for n in range(20))
    store([new("mote-2", at(5), humidity=40.0)])
    while roll_up(HOURS) or roll_up(MINUTES):
        pass
    store([new(timestamp=at(90)), new(timestamp=at(9000))])
    return device


def faults(device_id="mote-1"):
    return list(verify(device_id))


def checked(*arguments):
    output = StringIO()
    call_command("check_log", *arguments, stdout=output)
    return output.getvalue()


@pytest.mark.parametrize("slice_readings", [50_000, 50])
def test_a_right_log_has_no_fault(log, monkeypatch, slice_readings):
    next_slice = statistics.NEXT_SLICE.replace("50000", str(slice_readings))
    monkeypatch.setattr(statistics, "NEXT_SLICE", next_slice)
    assert Rollup.objects.filter(seconds=60).exists()
    assert faults() == faults("mote-2") == faults("nobody") == []
    assert checked() == "The logs of 2 devices are complete, and their statistics match.\n"
    assert checked("mote-2") == "The logs of 1 device are complete, and their statistics match.\n"


def test_retention_and_erasure_are_no_faults(log, transactional_db):
    DeviceState.objects.filter(device_id="mote-1").update(alarms_seq=400)
    log.retention_days = 1
    log.save()
    list(expire(now=at(7200) + timedelta(days=1)))
    assert Reading.objects.filter(device_id="mote-1").count() < 30
    assert faults() == []
    sum(erase(log, with_device=False))
    assert faults() == []
    store([new(), new()])
    roll_up(HOURS)
    assert faults() == []


@pytest.mark.parametrize(
    ("seqs", "expected"),
    [
        ([7], "reading 7 is missing"),
        ([*range(5, 9)], "the readings 5 to 8 are missing"),
        ([421, 422], "the readings 421 to 422 are missing"),
    ],
)
def test_missing_readings_are_named(log, seqs, expected):
    Reading.objects.filter(device_id="mote-1", seq__in=seqs).delete()
    assert faults()[0] == expected
    with pytest.raises(CommandError, match="in the logs of 2 devices"):
        checked()
    assert checked("mote-2").startswith("The logs of 1 device are complete")


def test_missing_first_readings_are_found_by_the_statistics(log):
    Reading.objects.filter(device_id="mote-1", seq=1).delete()
    assert faults() == [
        "the statistics of co2 in the hour 2026-05-09 12:00 UTC count 400, but 399 are stored",
        "the statistics of temperature in the hour 2026-05-09 12:00 UTC count 400, but 399 are stored",
        "the statistics of co2 in the minute 2026-05-09 12:00 UTC count 7, but 6 are stored",
        "the statistics of temperature in the minute 2026-05-09 12:00 UTC count 7, but 6 are stored",
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"sum": 1.0}, "have another sum, minimum or maximum than its readings"),
        ({"max": 999.0}, "have another sum, minimum or maximum than its readings"),
        ({"count": 7}, "count 7, but 20 are stored"),
    ],
)
def test_wrong_statistics_are_named(log, change, expected):
    Rollup.objects.filter(device_id="mote-1", seconds=3600, start=at(7200)).update(**change)
    assert faults() == [f"the statistics of temperature in the hour 2026-05-09 14:00 UTC {expected}"]


def test_statistics_of_no_readings_and_readings_without_statistics_are_named(log):
    Rollup.objects.filter(device_id="mote-1", seconds=3600, start=at(7200)).delete()
    Rollup.objects.create(
        device_id="mote-1", seconds=3600, start=at(-7200), metric="lux", count=3, sum=3.0, min=1.0, max=1.0
    )
    assert faults() == [
        "the statistics of lux in the hour 2026-05-09 10:00 UTC count 3, but 0 are stored",
        "the statistics of temperature in the hour 2026-05-09 14:00 UTC count 0, but 20 are stored",
    ]


def test_what_is_wrong_in_many_hours_is_listed_up_to_a_limit(device):
    store(new(timestamp=at(3600 * n)) for n in range(30))
    roll_up(HOURS)
    Rollup.objects.update(count=2)
    assert len(faults()) == LISTED


@pytest.mark.parametrize("name", ["rolled_up_seq", "alarms_seq", "names_seq"])
def test_a_position_beyond_the_log_is_named(log, name):
    DeviceState.objects.filter(device_id="mote-2").update(**{name: 9})
    assert f"the position {name} is 9, but the log ends at 1" in faults("mote-2")


def test_an_end_and_a_latest_reading_that_do_not_fit_are_named(log):
    DeviceState.objects.filter(device_id="mote-1").update(last_seq=421, latest_seq=3)
    assert faults() == [
        "reading 422 is stored, but the log ends at 421",
        "reading 3, the one with the newest time, is missing or another one",
    ]


def test_the_command_names_the_device_and_an_unknown_one(log):
    DeviceState.objects.filter(device_id="mote-2").update(alarms_seq=9)
    output = StringIO()
    with pytest.raises(CommandError, match="1 fault in the logs of 2 devices"):
        call_command("check_log", stdout=output)
    assert output.getvalue() == "mote-2: the position alarms_seq is 9, but the log ends at 1.\n"
    with pytest.raises(CommandError, match="There is no device 'nobody'"):
        checked("mote-1", "nobody")


@pytest.fixture
def sealed(log, monkeypatch):
    """The first 400 readings are in 8 segments, of which one is late."""
    monkeypatch.setattr(stored_segments, "SEGMENT_READINGS_MAX", 60)
    monkeypatch.setattr(seal, "SEGMENT_READINGS_MAX", 60)
    seal_all()
    return segments_of()


def replace(segment, **changes):
    """Stores another segment in place of this one; a trigger refuses UPDATE."""
    values = {field.attname: getattr(segment, field.attname) for field in segment._meta.concrete_fields}
    segment.delete()
    Segment.objects.bulk_create([Segment(**values | changes)])


@pytest.mark.parametrize("slice_segments", [24, 2])
def test_a_sealed_log_has_no_fault(sealed, monkeypatch, slice_segments):
    monkeypatch.setattr(
        statistics, "NEXT_SLICE", statistics.NEXT_SLICE.replace("OFFSET 24", f"OFFSET {slice_segments}")
    )
    assert [segment.late for segment in sealed].count(True) == 1
    assert faults() == []
    store(new(timestamp=at(90 + n)) for n in range(5))
    assert faults() == []
    roll_up(HOURS)
    assert checked() == "The logs of 2 devices are complete, and their statistics match.\n"


def test_a_damaged_segment_is_named_and_its_hours_are_not_compared(sealed):
    damage(sealed[2])
    assert faults() == ["the readings 121 to 180 are damaged: its checksum is wrong"]


def test_a_missing_segment_is_named(sealed):
    sealed[2].delete()
    assert faults()[0] == "the readings 121 to 180 are missing"
    assert faults()[1] == "the id of reading 121 is noted, but no segment has the reading"
    assert faults()[11] == "the statistics of co2 in the hour 2026-05-09 12:00 UTC count 400, but 340 are stored"


def test_a_missing_last_segment_is_named(sealed):
    for segment in sealed:
        if segment.last_seq > 360:
            segment.delete()
    assert faults()[:2] == [
        "reading 422, the one with the newest time, is missing or another one",
        "the readings 361 to 422 are missing",
    ]


def test_a_reading_that_is_stored_twice_is_named(sealed):
    readings = decode(bytes(sealed[2].data), "mote-1", key=id_key())
    extra = segment_of([readings[-1]], late=True)
    extra.first_seq, extra.last_seq = 900, 900
    Segment.objects.bulk_create([extra])
    found = faults()
    assert "the readings 900 to 900 are not those that their segment names" in found
    assert "the readings 900 to 900 are sealed, but the log only up to 422" in found
    assert "reading 180 is stored twice" in found


@pytest.mark.parametrize("change", [{"last_at": at(9)}, {"first_at": at(9)}, {"count": 59}])
def test_a_segment_that_says_something_else_is_named(sealed, change):
    replace(sealed[2], **change)
    assert faults()[0] == "the readings 121 to 180 are not those that their segment names"


def test_rows_that_are_sealed_are_named(sealed):
    Reading.objects.insert(decode(bytes(sealed[2].data), "mote-1", key=id_key())[:7])
    assert faults()[0] == "7 of the readings up to 422, which are sealed, are rows"


def test_rows_that_are_missing_after_the_sealed_ones_are_named(sealed):
    store(new(timestamp=at(9100 + n)) for n in range(5))
    Reading.objects.filter(seq__in=[423, 424]).delete()
    assert faults()[0] == "the readings 423 to 424 are missing"
    Reading.objects.all().delete()
    assert faults()[0] == "the readings 423 to 427 are missing"


def test_noted_ids_of_other_readings_are_named(sealed):
    SealedId.objects.filter(seq=130).update(seq=131)
    SealedId.objects.filter(seq=7).update(seq=800)
    assert sorted(faults()) == [
        "another id is noted for reading 131 than it has",
        "the id of reading 800 is noted, but no segment has the reading",
    ]


def test_a_position_of_sealing_beyond_the_rollups_is_named(sealed):
    DeviceState.objects.filter(device_id="mote-1").update(rolled_up_seq=400, rolled_up_minutes_seq=None)
    assert "the log is sealed up to 422, but only rolled up to 400" in faults()


def test_the_latest_reading_is_looked_for_in_segments(sealed):
    DeviceState.objects.filter(device_id="mote-1").update(latest_seq=3)
    assert faults() == ["reading 3, the one with the newest time, is missing or another one"]


def test_retention_unsealing_and_erasure_of_sealed_readings_are_no_faults(sealed, log, transactional_db):
    assert unseal_last("mote-1")
    assert faults() == []
    log.retention_days = 1
    log.save()
    list(expire(now=at(7200) + timedelta(days=1)))
    assert Segment.objects.exists()
    assert faults() == []
    sum(erase(log, with_device=False))
    assert faults() == []
    store([new(), new()])
    roll_up(HOURS)
    assert faults() == []
