"""`manage.py check_log`: what is wrong with a log is named, and a right log is right at every moment."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from devices.models import DeviceState
from readings.models import Reading, Rollup
from readings.statistics.tiers import HOURS, MINUTES
from readings.tests.logs import at, new, store
from readings.upkeep import verification
from readings.upkeep.erasure import erase
from readings.upkeep.retention import expire
from readings.upkeep.rollups import roll_up

pytestmark = pytest.mark.django_db


@pytest.fixture
def log(device, other_device):
    """400 readings of an hour and 20 of a later one, all rolled up, and two that are not yet."""
    store(new(timestamp=at(9 * n), temperature=20 + n / 7, extra={"co2": 400 + n % 3}) for n in range(400))
    store(new(timestamp=at(7200 + 60 * n), temperature=1 / (n + 1)) for n in range(20))
    store([new("mote-2", at(5), humidity=40.0)])
    while roll_up(HOURS) or roll_up(MINUTES):
        pass
    store([new(timestamp=at(90)), new(timestamp=at(9000))])
    return device


def faults(device_id="mote-1"):
    return list(verification.verify(device_id))


def checked(*arguments):
    output = StringIO()
    call_command("check_log", *arguments, stdout=output)
    return output.getvalue()


@pytest.mark.parametrize("slice_readings", [50_000, 50])
def test_a_right_log_has_no_fault(log, monkeypatch, slice_readings):
    next_slice = verification.NEXT_SLICE.replace("50000", str(slice_readings))
    monkeypatch.setattr(verification, "NEXT_SLICE", next_slice)
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
    assert len(faults()) == verification.LISTED


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
