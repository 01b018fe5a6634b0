"""A round of maintenance visits every device, for any number of devices, also if some of them fail."""

import logging
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import DataError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from devices.models import DeviceState
from readings import instruments
from readings.models import Reading, Segment
from readings.tests.logs import NOON, at, make_devices, new, store
from readings.upkeep import failures, maintenance, retention, rollups
from readings.upkeep.clock import TrustedTime
from readings.upkeep.failures import FailureLog, Outrun, concerns_whole_database, each_apart
from readings.upkeep.locks import exclusively
from readings.upkeep.maintenance import Maintainer, keep_maintaining, maintain
from readings.upkeep.passes import Rotation

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

TEN_DAYS_LATER = at(10 * 86_400)


@pytest.fixture
def small_steps(monkeypatch):
    """Limits a step to 5 devices or 10 readings."""
    monkeypatch.setattr(rollups, "STEP_DEVICES", 5)
    monkeypatch.setitem(rollups.STEP_READINGS, connection.vendor, 10)


@pytest.fixture
def names(small_steps) -> list[str]:
    """12 devices, node-0000 to node-0011, each with one reading at noon."""
    names = make_devices(12)
    store(new(name) for name in names)
    return names


def behind() -> list[str]:
    """The devices with readings that are not in a rollup."""
    states = DeviceState.objects.order_by("device_id")
    return [state.device_id for state in states if state.rolled_up_seq < state.last_seq]


def left() -> set[str]:
    """The devices that still have their reading at noon, as a row or sealed."""
    rows, sealed = Reading.objects.filter(timestamp=NOON), Segment.objects.filter(first_at=NOON)
    return {reading.device_id for reading in rows} | {segment.device_id for segment in sealed}


def poison(monkeypatch, *device_ids: str, error: Exception | None = None) -> None:
    """Makes each rollup step fail that includes one of these devices."""
    real = rollups.add

    def add(tier: Any, seq_ranges: Any) -> Any:
        if {seq_range.device_id for seq_range in seq_ranges} & set(device_ids):
            raise error or DataError("value out of range: overflow")
        return real(tier, seq_ranges)

    monkeypatch.setattr(rollups, "add", add)


def after_steps(count: int) -> tuple[threading.Event, Any]:
    """An event, and a progress callback that sets it after this number of calls."""
    stop, calls = threading.Event(), []

    def progress(_: int) -> None:
        calls.append(True)
        if len(calls) >= count:
            stop.set()

    return stop, progress


def test_a_round_takes_in_every_device_though_a_step_takes_few(names):
    assert maintain(now=NOON).rolled_up == 12
    assert behind() == []


def test_minutes_are_taken_in_for_every_device_too(names):
    DeviceState.objects.update(rolled_up_minutes_seq=0)
    maintain(now=NOON)
    assert not DeviceState.objects.exclude(rolled_up_minutes_seq=1).exists()


def test_a_device_that_is_far_behind_keeps_nobody_waiting(names):
    store(new(names[0], at(n)) for n in range(95))
    stop, progress = after_steps(5)
    maintain(now=NOON, stop=stop, rolled_up=progress)
    assert behind() == [names[0]]
    maintain(now=NOON)
    assert behind() == []


def test_rounds_that_are_ended_early_go_on_where_they_ended(names, monkeypatch):
    monkeypatch.setitem(rollups.STEP_READINGS, connection.vendor, 1000)
    maintainer = Maintainer()
    for _ in range(4):
        store(new(name) for name in names)
        stop, progress = after_steps(1)
        maintain(now=NOON, stop=stop, rolled_up=progress, maintainer=maintainer)
    assert not DeviceState.objects.filter(rolled_up_seq=0).exists()


def test_each_process_begins_anywhere(names, monkeypatch):
    """Otherwise a process that is always stopped after its first step would never reach the last devices."""
    monkeypatch.setattr("random.randrange", lambda count: 7)
    ranges = Rotation().ranges()
    assert next(ranges) == ("node-0007", None)
    assert next(ranges) == ("", "node-0007")


def test_steps_are_as_many_as_they_must_be(names):
    """Each step continues after the last device of the previous step and does not read earlier devices again."""
    maintain(now=NOON)
    store(new(name) for name in names)
    with CaptureQueriesContext(connection) as queries:
        maintain(now=NOON)
    taken = [query["sql"] for query in queries if "INSERT INTO readings_rollup" in query["sql"]]
    asked = [query["sql"] for query in queries if "rolled_up_seq < last_seq" in query["sql"]]
    assert len(taken) <= 4
    assert len(asked) <= len(taken) + 2


@pytest.mark.parametrize("error", [DataError("overflow"), Outrun(), ValueError("a fault of ours")])
def test_a_device_that_fails_is_left_out_and_tried_again(names, monkeypatch, caplog, error):
    failed_before = instruments.FAILED_DEVICES._value.get()
    maintainer = Maintainer()
    with monkeypatch.context() as patched:
        poison(patched, "node-0003", error=error)
        for _ in range(3):
            done = maintain(now=NOON, maintainer=maintainer)
            assert behind() == ["node-0003"]
            assert done.failed == 1
    assert instruments.FAILED_DEVICES._value.get() == failed_before + 3
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "node-0003" in record.getMessage()
    assert record.exc_info
    maintain(now=NOON, maintainer=maintainer)
    assert behind() == []


def test_where_nearly_all_fail_the_part_is_given_up_and_the_rest_goes_on(names, monkeypatch, settings, caplog):
    maintain(now=NOON)
    store(new(name) for name in names)
    settings.RETENTION_DAYS = 1
    monkeypatch.setattr(maintenance, "FAILED_DEVICES_MAX", 3)
    poison(monkeypatch, *names)
    done = maintain(now=NOON)
    assert done.failed == 4
    assert "was stopped" in caplog.text
    assert DeviceState.objects.exclude(raw_from=None).count() == 12, "retention has had its turn"


def test_a_failure_of_the_whole_database_is_not_looked_for_device_by_device(names, monkeypatch):
    attempts = []

    def add(tier: Any, seq_ranges: Any) -> Any:
        attempts.append(len(seq_ranges))
        raise OperationalError("the server is gone") from lost_connection()

    monkeypatch.setattr(rollups, "add", add)
    with pytest.raises(OperationalError):
        maintain(now=NOON)
    assert len(attempts) == 1


def lost_connection() -> Exception:
    """An error as the database driver raises it."""
    if connection.vendor == "postgresql":
        import psycopg

        return psycopg.OperationalError("server closed the connection unexpectedly")
    import sqlite3

    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    return full


def test_what_only_some_rows_cause_is_told_from_what_the_database_does():
    with pytest.raises(Exception) as failure, connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0" if connection.vendor == "postgresql" else "SELECT json_extract('{', '$.a')")
    assert not concerns_whole_database(failure.value)
    assert not concerns_whole_database(ValueError())
    assert not concerns_whole_database(Outrun())


@pytest.mark.postgresql  # SQLite locks no rows
def test_a_row_that_stays_locked_keeps_no_other_device_waiting(names, monkeypatch):
    monkeypatch.setattr(rollups, "LOCK_WAIT_SECONDS", 0.1)
    locked, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            DeviceState.objects.lock(["node-0003"])
            locked.set()
            done.wait(30)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert locked.wait(10)
        maintain(now=NOON)
        assert behind() == ["node-0003"]
    finally:
        done.set()
        holder.join()
    maintain(now=NOON)
    assert behind() == []


class TestRetention:
    @pytest.fixture(autouse=True)
    def days(self, settings, names, monkeypatch):
        """A retention of one day; each device has two expired readings and one new reading."""
        settings.RETENTION_DAYS = 1
        store(new(name, when) for when in (NOON, TEN_DAYS_LATER) for name in names)
        maintain(now=NOON)
        monkeypatch.setattr(retention, "PAGE_DEVICES", 5)
        monkeypatch.setattr(maintenance, "trusted_time", lambda last, *, now, uptime: TrustedTime(now, None))

    def test_a_device_that_fails_is_left_out_and_tried_again(self, names, monkeypatch):
        real = retention.deletions

        def deletions(expiry: Any) -> Any:
            if expiry.device_id == "node-0003":
                raise DataError("invalid page in block 7")
            return real(expiry)

        with monkeypatch.context() as patched:
            patched.setattr(retention, "deletions", deletions)
            done = maintain(now=TEN_DAYS_LATER)
        assert (done.deleted, done.failed) == (22, 1)
        assert left() == {"node-0003"}
        maintain(now=TEN_DAYS_LATER + timedelta(hours=1))
        assert left() == set()

    def test_a_border_that_cannot_be_moved_is_left_where_it_is(self, names, monkeypatch):
        real = retention.move_borders

        def move_borders(page: Any) -> None:
            if any(expiry.device_id == "node-0003" for expiry in page):
                raise DataError("invalid page in block 7")
            real(page)

        monkeypatch.setattr(retention, "move_borders", move_borders)
        done = maintain(now=TEN_DAYS_LATER)
        assert (done.deleted, done.failed) == (22, 1)
        assert left() == {"node-0003"}

    def test_rounds_without_time_roll_up_between_chunks_and_come_to_the_end(self, names):
        maintainer = Maintainer()
        for _ in range(26):
            store([new(names[0], TEN_DAYS_LATER)])
            assert maintain(now=TEN_DAYS_LATER, maintainer=maintainer, part_seconds=0).unfinished
            assert behind() == []
        assert left() == set()

    def test_rounds_that_are_ended_early_go_on_where_they_ended(self, names):
        maintainer = Maintainer()
        for _ in range(26):
            stop, progress = after_steps(1)
            maintain(now=TEN_DAYS_LATER, maintainer=maintainer, stop=stop, deleted=progress)
        assert left() == set()


def run_rounds(count: int, fail: Any, monkeypatch) -> None:
    """Runs `keep_maintaining` for this number of rounds; `fail` is called with the number of each round, from 1."""
    stop, rounds = threading.Event(), []
    real = maintain

    def attempt(**options: Any) -> Any:
        rounds.append(True)
        try:
            fail(len(rounds))
            return real(**options)
        finally:
            if len(rounds) == count:
                stop.set()

    monkeypatch.setattr(maintenance, "maintain", attempt)
    thread = threading.Thread(target=keep_maintaining, args=[stop], kwargs={"interval": 0.001})
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert len(rounds) == count


class TestTheLoop:
    @pytest.mark.parametrize(
        "error", [OSError("No space left on device"), ValueError("a fault of ours"), MemoryError()]
    )
    def test_it_outlives_any_exception(self, names, monkeypatch, caplog, error):
        failed_before = instruments.FAILED_ROUNDS._value.get()

        def fail(number: int) -> None:
            if number <= 20:
                raise error

        run_rounds(21, fail, monkeypatch)
        assert behind() == []
        assert instruments.FAILED_ROUNDS._value.get() == failed_before + 20
        (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert record.exc_info

    def test_it_outlives_a_lock_file_that_cannot_be_opened(self, names, monkeypatch, caplog):
        """An unexpected kind of error must not end maintenance without a log entry."""
        real = exclusively
        attempts = []

        def refused_at_first(task: Any) -> Any:
            attempts.append(task)
            if len(attempts) < 3:
                raise PermissionError(13, "Permission denied", "telemetry.sqlite3-maintenance")
            return real(task)

        monkeypatch.setattr(maintenance, "exclusively", refused_at_first)
        run_rounds(3, lambda number: None, monkeypatch)
        assert behind() == []
        assert caplog.text.count("[Errno 13]") == 1

    def test_it_outlives_a_report_that_cannot_be_written(self, names, monkeypatch):
        stop, reports = threading.Event(), []

        def report(done: Any) -> None:
            reports.append(done)
            if len(reports) == 3:
                stop.set()
            raise BrokenPipeError

        thread = threading.Thread(target=keep_maintaining, args=[stop], kwargs={"interval": 0.001, "report": report})
        thread.start()
        thread.join(20)
        assert len(reports) == 3


class TestTheLogOfFailures:
    def test_the_same_failure_is_written_once_an_hour(self, caplog, monkeypatch):
        clock = [0.0]
        monkeypatch.setattr("time.monotonic", lambda: clock[0])
        log = FailureLog(logging.getLogger("test"))
        for clock[0] in range(0, 7201, 600):
            log.write("It fails", OSError("again"))
        assert caplog.text.count("OSError: again") == 3

    def test_another_failure_is_written_at_once(self, caplog):
        log = FailureLog(logging.getLogger("test"))
        log.write("It fails", OSError("one"))
        log.write("It fails", ValueError("two"))
        log.write("Something else fails", ValueError("three"))
        assert [text in caplog.text for text in ("one", "two", "three")] == [True] * 3

    def test_it_remembers_a_bounded_number(self, monkeypatch):
        monkeypatch.setattr(failures, "REMEMBERED", 3)
        log = FailureLog(logging.getLogger("test"))
        for n in range(10):
            log.write(f"Device {n} fails", ValueError())
        assert len(log.written) <= 3


def test_of_many_items_only_those_that_fail_are_left_out():
    transactions, failed = [], []

    def work(items: Any) -> None:
        transactions.append(items)
        if {3, 900} & set(items):
            raise ValueError

    rest = each_apart(range(1000), work, lambda item, error: failed.append(item))
    assert failed == [3, 900]
    assert list(rest) == [n for n in range(1000) if n not in (3, 900)]
    assert len(transactions) < 45
