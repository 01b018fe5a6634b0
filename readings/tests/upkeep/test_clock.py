"""Retention and a clock that jumps: readings that a wrong clock would delete are kept."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from devices.models import DeviceState
from devices.tests.fixtures import EVERYTHING
from readings.models import MaintenanceRound, Reading, Segment
from readings.overview import overview
from readings.tests.logs import NOON, at, new, store
from readings.upkeep import clock
from readings.upkeep.clock import TrustedTime, Uptime, trusted_time
from readings.upkeep.lag import ClockAhead
from readings.upkeep.maintenance import Maintainer, maintain

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

DAY = 86_400
HOUR = 3600
YEAR_AND_MORE = 400 * DAY


class Machine:
    """A machine with a settable clock: `passes` advances the clock and the uptime, `sets` changes only the clock."""

    def __init__(self) -> None:
        self.real = self.ahead = 0.0
        self.booted, self.boots = 0.0, 1
        self.maintainer = Maintainer()

    @property
    def now(self) -> Any:
        return at(self.real + self.ahead)

    def passes(self, seconds: float) -> None:
        self.real += seconds

    def sets(self, ahead: float) -> None:
        self.ahead = ahead

    def reboots(self) -> None:
        self.booted = self.real
        self.boots += 1
        self.maintainer = Maintainer()

    def maintains(self) -> int:
        """How many readings a round deletes."""
        uptime = Uptime(f"boot {self.boots}", self.real - self.booted)
        return maintain(now=self.now, uptime=uptime, maintainer=self.maintainer).deleted

    def maintains_for(self, seconds: float, *, every: float = HOUR) -> int:
        deleted = 0
        until = self.real + seconds
        while self.real < until:
            self.passes(every)
            deleted += self.maintains()
        return deleted


@pytest.fixture
def machine(device, settings) -> Machine:
    """A device with one reading per day for 90 days, the newest at noon, and a retention of 90 days."""
    settings.RETENTION_DAYS = 90
    store(new(timestamp=at(-n * DAY)) for n in reversed(range(90)))
    machine = Machine()
    machine.maintains()
    assert kept() == 90
    return machine


def kept() -> int:
    """Rows and sealed readings."""
    return Reading.objects.count() + sum(Segment.objects.values_list("count", flat=True))


def last() -> MaintenanceRound:
    found = MaintenanceRound.objects.order_by("-id").first()
    assert found
    return found


def measured() -> float:
    """The value in /metrics."""
    ((sample,),) = (family.samples for family in ClockAhead().collect())
    return float(sample.value)


def test_a_clock_that_jumps_once_deletes_nothing(machine):
    machine.passes(10)
    machine.sets(YEAR_AND_MORE)
    assert machine.maintains() == 0
    machine.passes(10)
    assert machine.maintains() == 0
    assert kept() == 90
    raw_from = DeviceState.objects.get().raw_from
    assert raw_from
    assert raw_from < NOON

    machine.sets(0)
    assert machine.maintains_for(3 * DAY) == 2
    assert last().held is None


def test_a_clock_that_stays_ahead_is_followed_after_a_day_and_said_so_all_day(machine, caplog):
    machine.sets(YEAR_AND_MORE)
    machine.passes(10)
    machine.maintains()
    for _ in range(23):
        machine.passes(HOUR)
        machine.maintains()
        found = overview(EVERYTHING, now=machine.now)
        assert "400 days" in found.clock
        assert measured() == pytest.approx(YEAR_AND_MORE, abs=1)
    assert kept() == 90
    assert "400 days" in caplog.text

    assert machine.maintains_for(2 * HOUR) == 89
    assert kept() == 1
    assert overview(EVERYTHING, now=machine.now).clock == ""
    assert measured() == 0


def test_the_first_page_of_the_console_says_it(machine, client, admin_user):
    client.force_login(admin_user)
    assert b"The clock is" not in client.get("/admin/").content
    machine.sets(YEAR_AND_MORE)
    machine.maintains()
    assert b"The clock is 400 days" in client.get("/admin/").content


def test_a_clock_that_jumps_again_and_again_is_never_followed(machine):
    for n in range(1, 60):
        machine.sets(n * YEAR_AND_MORE)
        assert machine.maintains_for(HOUR) <= 1
    assert kept() >= 87


def test_a_clock_that_creeps_ahead_in_many_small_steps_is_not_followed(machine):
    for n in range(1, 100):
        machine.sets(n * 50 * 60)
        machine.passes(10)
        machine.maintains()
    assert kept() >= 89


def test_small_steps_of_a_clock_are_followed(machine):
    machine.sets(600)
    machine.maintains_for(10 * DAY, every=6 * HOUR)
    assert last().held is None
    assert abs(last().trusted_at - machine.now) < timedelta(minutes=1)


def test_maintenance_by_cron_each_day_goes_on_as_ever(machine):
    assert machine.maintains_for(5 * DAY, every=DAY) == 4
    machine.sets(YEAR_AND_MORE)
    assert machine.maintains_for(DAY, every=DAY) == 1
    machine.sets(0)
    assert machine.maintains_for(DAY, every=DAY) == 1


def test_a_clock_that_is_wrong_after_a_restart_deletes_nothing(machine):
    machine.passes(60)
    machine.reboots()
    machine.sets(YEAR_AND_MORE)
    assert machine.maintains_for(20 * HOUR) <= 1
    machine.reboots()
    machine.sets(0)
    assert machine.maintains_for(2 * DAY) >= 1
    assert kept() >= 87


def test_after_a_short_restart_retention_goes_on_at_once(machine):
    machine.passes(600)
    machine.reboots()
    machine.maintains()
    assert last().held is None


def test_a_server_that_was_off_for_400_days_deletes_a_day_after_it_is_on(machine):
    machine.passes(YEAR_AND_MORE)
    machine.reboots()
    assert machine.maintains_for(DAY) <= 1
    assert machine.maintains_for(2 * HOUR) >= 88
    assert kept() == 1


def test_a_server_that_runs_a_while_each_day_follows_its_clock_though_a_day_later(machine):
    for _ in range(10):
        machine.passes(DAY)
        machine.reboots()
        machine.maintains()
    assert kept() in (81, 82, 83)


def test_a_clock_that_starts_in_1970_and_is_set_then_waits_no_day(machine):
    machine.passes(600)
    machine.reboots()
    machine.sets(-56 * 365 * DAY)
    assert machine.maintains() == 0
    machine.passes(30)
    machine.sets(0)
    machine.maintains()
    assert last().held is None


def test_two_machines_that_take_turns_do_not_lend_each_other_a_wrong_clock(machine):
    for n in range(100):
        machine.boots = n % 2
        machine.sets(YEAR_AND_MORE if n % 2 else 0)
        machine.passes(1200)
        machine.maintains()
    assert kept() >= 87


def test_days_that_are_set_for_the_first_time_are_no_jump(machine, settings):
    settings.RETENTION_DAYS = 0
    machine.maintains_for(HOUR)
    settings.RETENTION_DAYS = 5
    assert machine.maintains_for(HOUR) == 85


def test_the_first_round_of_all_compares_with_the_newest_receipt(device, settings):
    settings.RETENTION_DAYS = 90
    store([new(timestamp=at(-n)) for n in range(50)], received_at=NOON)
    machine = Machine()
    machine.sets(YEAR_AND_MORE)
    assert machine.maintains() == 0
    machine.sets(0)
    machine.maintains()
    assert last().held is None


def test_a_receipt_in_the_future_does_not_vouch_for_a_clock(device, settings):
    store([new()], received_at=at(DAY))
    assert trusted_time(None, now=NOON, uptime=Uptime("a", 0.0)).at == NOON


def test_with_nothing_to_compare_with_the_clock_is_trusted(db):
    assert trusted_time(None, now=NOON, uptime=Uptime("a", 0.0)) == TrustedTime(NOON, None)


def test_what_would_be_deleted_is_foretold_by_the_trusted_time(device, settings):
    settings.RETENTION_DAYS = 1
    long_ago = timezone.now() - timedelta(days=30)
    store([new(timestamp=long_ago), new(timestamp=long_ago + timedelta(hours=1))], received_at=long_ago)
    out = StringIO()
    call_command("maintain", "--dry-run", stdout=out)
    assert "The clock has jumped" in out.getvalue()
    assert "0 readings would be deleted" in out.getvalue()


def test_an_uptime_is_the_machine_s_own_and_only_goes_on():
    one, other = clock.read_uptime(), clock.read_uptime()
    assert one.boot == other.boot
    assert one.seconds <= other.seconds


def test_without_a_boot_id_uptimes_are_the_process_s(monkeypatch):
    def missing(self: Any) -> str:
        raise FileNotFoundError

    monkeypatch.setattr("pathlib.Path.read_text", missing)
    assert clock.read_uptime().boot == clock.PROCESS
    assert len(clock.PROCESS) <= 64


def test_retention_goes_on_by_the_time_that_has_passed_while_a_clock_is_not_trusted(machine):
    for n in range(1, 4):  # the clock jumps once a day, so retention never trusts it
        machine.sets(n * YEAR_AND_MORE)
        machine.maintains_for(23 * HOUR)
    assert kept() == 88
