"""`manage.py maintain` and the loop in `up`: one process at a time, and errors do not end the loop."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from readings.tests.logs import NOON, at, new, state_of, store
from readings.upkeep import maintenance, rollups
from readings.upkeep.locks import Busy, exclusively
from readings.upkeep.maintenance import Round, keep_maintaining, maintain

pytestmark = pytest.mark.django_db(transaction=True)


def in_a_thread(work) -> None:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()


def test_two_never_run_at_once(device):
    store([new()])
    refused = []

    def other() -> None:
        try:
            maintain(now=NOON)
        except Busy:
            refused.append(True)

    with exclusively("maintenance"):
        in_a_thread(other)
    assert refused == [True]
    assert state_of().rolled_up_seq == 0
    in_a_thread(other)
    assert refused == [True]
    assert state_of().rolled_up_seq == 1


def test_the_command_says_that_another_is_at_it():
    failures = []

    def other() -> None:
        with pytest.raises(CommandError, match="Another process is maintaining this database") as failure:
            call_command("maintain", "--once", stdout=io.StringIO())
        failures.append(failure)

    with exclusively("maintenance"):
        in_a_thread(other)
    assert failures


def test_who_waits_for_a_migration_does_not_keep_it_from_making_an_index(db):
    """On PostgreSQL, CREATE INDEX CONCURRENTLY waits for all running statements."""
    concurrently = "CONCURRENTLY" if connection.vendor == "postgresql" else ""
    waited = []

    def other() -> None:
        try:
            with exclusively("migration", wait=True):
                waited.append(True)
        finally:
            connection.close()

    thread = threading.Thread(target=other)
    with exclusively("migration"), connection.cursor() as cursor:
        thread.start()
        thread.join(0.5)
        cursor.execute(f"CREATE INDEX {concurrently} made_meanwhile ON readings_rejection (status)")
        cursor.execute("DROP INDEX made_meanwhile")
        assert not waited
    thread.join(20)
    assert waited


def test_it_ends_though_readings_keep_coming(device, monkeypatch):
    """A round includes the readings present at its start; the next round takes those that arrive during it."""

    def while_more_comes(*arguments):
        store([new(timestamp=at(1))])
        return take_in(*arguments)

    take_in = rollups.take_in
    store([new()])
    monkeypatch.setattr(rollups, "take_in", while_more_comes)
    assert maintain(now=NOON).rolled_up == 1


def test_the_loop_outlives_a_database_that_goes_away(device, monkeypatch, caplog):
    stop, rounds = threading.Event(), []
    real = maintain

    def at_times_away(**options):
        rounds.append(True)
        if len(rounds) in (2, 3):
            raise OperationalError("the server is gone")
        if len(rounds) == 5:
            stop.set()
        store([new(timestamp=at(len(rounds)))])
        return real(**options)

    monkeypatch.setattr(maintenance, "maintain", at_times_away)
    done: list[Round] = []
    in_a_thread(lambda: keep_maintaining(stop, interval=0.01, report=done.append))
    assert state_of().rolled_up_seq >= 2
    assert len(done) == 3
    messages = [record.getMessage() for record in caplog.records if record.name == maintenance.__name__]
    assert sum("waits for the database: the server is gone" in message for message in messages) == 1


def test_an_interval_is_above_zero():
    with pytest.raises(CommandError, match="above 0"):
        call_command("maintain", "--interval", "0")


def test_the_loop_stops_on_a_signal(device, tmp_path):
    """The command as a separate process on the test database."""
    store([new()])
    database = connection.settings_dict["NAME"]
    if connection.vendor == "postgresql":
        entry = connection.settings_dict
        account = ":".join(filter(None, (entry["USER"], entry["PASSWORD"])))
        url = f"postgresql://{account}@{entry['HOST']}:{entry['PORT'] or 5432}/{database}"
    else:
        url = f"sqlite:///{database}"
    environment = {
        "PATH": os.environ["PATH"],
        "ENV_FILE": os.devnull,
        "SECRET_KEY": "x" * 40,
        "API_SECRET_KEY": "y" * 40,
        "DATABASE_URL": url,
        "DISTRIBUTED": str(django_settings.DISTRIBUTED),
    }
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "maintain", "--interval", "0.2"],
            cwd=Path(django_settings.BASE_DIR), env=environment, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while state_of().rolled_up_seq < 1 and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert state_of().rolled_up_seq == 1
    assert "1 reading rolled up" in log.read_text()


def test_who_waits_for_maintenance_has_a_turn_between_rounds_that_follow_at_once(device, monkeypatch):
    """Waits for the lock like `erase_device`, while a large backlog is rolled up."""
    stop = threading.Event()
    monkeypatch.setattr(maintenance, "maintain", lambda **_: unfinished())

    def unfinished() -> Round:
        with exclusively("maintenance"):
            time.sleep(0.05)
        return Round(unfinished=True)

    thread = threading.Thread(target=keep_maintaining, args=[stop])
    thread.start()
    try:
        started = time.monotonic()
        with exclusively("maintenance", wait=True):
            assert time.monotonic() - started < 5
    finally:
        stop.set()
        thread.join(20)
