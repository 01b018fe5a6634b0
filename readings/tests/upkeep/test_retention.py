"""Retention and erasure: what is deleted, what is kept, and the output of the commands."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.utils import timezone

from devices.models import Device, DeviceState
from readings.models import Reading, Rollup
from readings.statistics.beginning import earliest
from readings.statistics.tiers import HOURS
from readings.tests.logs import at, new, state_of, store
from readings.tests.statistics.test_rollups import roll_all_up
from readings.upkeep import retention
from readings.upkeep.rollups import roll_up

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = 3600


def expire(now=None) -> int:
    return sum(retention.expire(now=now or at(10 * 86_400)))


def times(device_id: str = "mote-1") -> list[Any]:
    return list(Reading.objects.filter(device__device_id=device_id).order_by("seq").values_list("timestamp", flat=True))


@pytest.fixture
def log(device, other_device):
    """Two devices, each with a reading every six hours for ten days, all rolled up."""
    moments = [at(n * 6 * HOUR) for n in range(40)]
    store(new(name, when, temperature=1.0) for when in moments for name in ("mote-1", "mote-2"))
    roll_all_up()
    return moments


def test_without_a_retention_nothing_goes(log):
    assert expire() == 0
    assert times() == log


def test_readings_older_than_the_days_go_in_chunks(log, settings, monkeypatch):
    settings.RETENTION_DAYS = 4
    monkeypatch.setattr(retention, "DELETE_READINGS", retention.DELETE_READINGS.replace("5000", "7"))
    monkeypatch.setattr(retention, "CHUNK_ROWS", 7)
    assert list(retention.expire(now=at(10 * 86_400 + 600))) == [7, 7, 7, 3, 7, 7, 7, 3]
    assert times() == [when for when in log if when >= at(6 * 86_400)]
    assert state_of().raw_from == at(6 * 86_400)


def test_a_device_has_days_of_its_own(log, settings):
    settings.RETENTION_DAYS = 4
    Device.objects.filter(device_id="mote-1").update(retention_days=0)
    expire()
    assert (len(times("mote-1")), len(times("mote-2"))) == (40, 16)
    settings.RETENTION_DAYS = 0
    Device.objects.filter(device_id="mote-1").update(retention_days=8)
    Device.objects.filter(device_id="mote-2").update(retention_days=None)
    expire()
    assert (len(times("mote-1")), len(times("mote-2"))) == (32, 16)


def test_what_is_in_no_rollup_stays(log, settings):
    settings.RETENTION_DAYS = 4
    store([new(timestamp=at(HOUR))], at(10 * 86_400))
    expire()
    assert times()[-1] == at(HOUR)
    roll_all_up()
    assert expire(at(10 * 86_400 + HOUR)) == 3, "that one, and of each device the one of noon"
    assert at(HOUR) not in times()


def test_the_latest_reading_stays(log, settings, admin):
    settings.RETENTION_DAYS = 1
    expire(at(300 * 86_400))
    assert times() == [log[-1]]
    assert admin.get("/api/v1/devices/mote-1/latest").json()["timestamp"].startswith("2026-05-19T06:00:00")


def test_aggregates_over_the_deleted_past_answer_from_rollups_and_say_their_resolution(log, settings, admin):
    settings.RETENTION_DAYS = 4

    def ask(**query: Any) -> Any:
        return admin.get("/api/v1/devices/mote-1/aggregate", query).json()

    window = {"start": at(60).isoformat(), "end": at(86_400).isoformat()}
    whole = {"start": at(0).isoformat(), "end": at(86_400).isoformat()}
    assert ask(**window)["metrics"]["temperature"]["count"] == 3
    expire()
    widened = ask(**window)
    assert widened["resolution"] == "1h"
    assert widened["metrics"]["temperature"]["count"] == 4
    assert "resolution" not in ask(**whole)
    assert ask(**whole)["metrics"]["temperature"]["count"] == 4
    assert ask(**whole, bucket="auto")["bucket"] == "1h"
    recent = {"start": at(8 * 86_400).isoformat(), "end": at(9 * 86_400).isoformat()}
    assert ask(**recent, bucket="auto")["bucket"] == "5m"
    fine = ask(**whole, bucket="30m")
    assert fine["resolution"] == "1h"
    assert [part["start"][11:16] for part in fine["buckets"]] == ["12:00", "18:00", "00:00", "06:00"]


def test_the_earliest_is_the_oldest_reading_or_what_is_left_of_older_ones(log, settings):
    store([new(timestamp=at(-HOUR + 60))], at(10 * 86_400))
    assert earliest(state_of()) == at(-HOUR + 60)
    roll_all_up()
    assert earliest(state_of()) == at(-HOUR + 60)
    settings.RETENTION_DAYS = 4
    expire()
    assert earliest(state_of()) == at(-HOUR)
    Device.objects.register(device_id="silent")
    assert earliest(state_of("silent")) is None


def test_the_rollups_of_minutes_go_with_their_readings(device, settings):
    store(new(timestamp=at(n * 5)) for n in range(1440))
    roll_all_up()
    assert Rollup.objects.filter(seconds=60).count() == 120
    settings.RETENTION_DAYS = 1
    expire(at(86_400 + HOUR))
    assert Rollup.objects.filter(seconds=60).count() == 60
    assert Rollup.objects.filter(seconds=3600).count() == 2


def test_the_command_foretells_what_would_go(log, settings):
    settings.RETENTION_DAYS = 4
    store([new()], received_at=timezone.now())
    out = StringIO()
    call_command("maintain", "--dry-run", stdout=out)
    days = (timezone.now() - at(0)).days
    assert days > 14, "the log is of the past"
    assert "mote-1: 39 readings before" in out.getvalue()
    assert "78 readings would be deleted" in out.getvalue()
    assert "1 reading is not in a rollup yet and is kept until it is." in out.getvalue()
    assert len(times()) == 41


def test_the_command_does_it_all(device, settings):
    settings.RETENTION_DAYS = 4
    store([new(timestamp=at(0)), new(timestamp=at(1))], received_at=timezone.now())
    out = StringIO()
    call_command("maintain", "--once", stdout=out)
    assert "2 readings rolled up" in out.getvalue()
    assert "1 deleted" in out.getvalue()


def test_erasing_leaves_nothing_but_the_number(log, admin):
    out = StringIO()
    call_command("erase_device", "mote-1", "--yes", stdout=out)
    assert "Erased 40 readings of mote-1" in out.getvalue()
    assert times() == []
    assert not Rollup.objects.filter(device__device_id="mote-1").exists()
    assert len(times("mote-2")) == 40
    assert admin.get("/api/v1/devices/mote-1/latest").status_code == 404
    outcome = store([new(timestamp=at(99), temperature=5.0)])[0]
    assert outcome.reading
    assert outcome.reading.seq == 41
    answer = admin.get("/api/v1/devices/mote-1/aggregate", {"start": at(0).isoformat(), "end": at(HOUR).isoformat()})
    assert answer.json()["metrics"]["temperature"]["count"] == 1
    roll_up(HOURS)
    answer = admin.get("/api/v1/devices/mote-1/aggregate", {"start": at(0).isoformat(), "end": at(HOUR).isoformat()})
    assert answer.json()["metrics"]["temperature"]["count"] == 1


def test_erasing_the_device_too_takes_its_history_in_the_console(log, admin_user):
    device = Device.objects.get(device_id="mote-1")
    LogEntry.objects.log_actions(admin_user.pk, [device], 2, change_message="x", single_object=True)
    call_command("erase_device", "mote-1", "--with-device", "--yes", stdout=StringIO())
    assert not Device.objects.filter(device_id="mote-1").exists()
    assert not DeviceState.objects.filter(device_id="mote-1").exists()
    (entry,) = LogEntry.objects.all()
    assert "mote-1" not in f"{entry} {entry.object_repr} {entry.change_message}"
    assert len(times("mote-2")) == 40


@pytest.mark.parametrize("typed", ["", "yes", "mote-2"])
def test_erasing_asks_for_the_id(log, monkeypatch, typed):
    monkeypatch.setattr("builtins.input", lambda _: typed)
    with pytest.raises(CommandError, match="Nothing was erased"):
        call_command("erase_device", "mote-1", stdout=StringIO())
    assert len(times()) == 40
    monkeypatch.setattr("builtins.input", lambda _: "mote-1")
    call_command("erase_device", "mote-1", stdout=StringIO())
    assert times() == []


def test_erasing_can_be_foretold_and_needs_a_device(log):
    out = StringIO()
    call_command("erase_device", "mote-1", "--dry-run", stdout=out)
    assert "Would erase 40 readings, 40 rollups and 0 kinds of refused posts of mote-1" in out.getvalue()
    assert len(times()) == 40
    with pytest.raises(CommandError, match="There is no device 'nobody'"):
        call_command("erase_device", "nobody", "--yes")


def test_retention_days_are_set_in_the_console(log, client, admin_user):
    client.force_login(admin_user)
    device = Device.objects.get(device_id="mote-1")
    address = f"/admin/devices/device/{device.pk}/change/"
    form = {"name": "", "is_active": "on", "report_interval": "", "retention_days": "30"}
    assert client.post(address, form).status_code == 302
    device.refresh_from_db()
    assert device.retention_days == 30
    assert client.post(address, form | {"retention_days": "-1"}).status_code == 200


def test_a_window_that_ends_before_what_is_kept_is_widened_at_both_ends(log, settings, admin):
    settings.RETENTION_DAYS = 4
    expire()
    query = {"start": at(60).isoformat(), "end": (at(6 * HOUR) + timedelta(seconds=1)).isoformat()}
    answer = admin.get("/api/v1/devices/mote-1/aggregate", query).json()
    assert answer["metrics"]["temperature"]["count"] == 2
    assert answer["resolution"] == "1h"
