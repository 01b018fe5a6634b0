"""Maintenance and `unseal` that are killed while statistics become blocks or rows, beside devices that post."""

import json
import math
import random
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psycopg
import pytest
from django.conf import settings

from telemetry.tests.proofs.conftest import Record
from telemetry.tests.proofs.test_killed_sealing import DEVICES, SEAL_AFTER_DAYS, TIMES, manage, serving
from telemetry.tests.support.clients.fleet import Fleet
from telemetry.tests.support.servers.server import ADMIN_KEY, Server

pytestmark = pytest.mark.prove

HEADERS = {"X-API-Key": ADMIN_KEY}
DAYS = 30  # `age_seconds` reaches back 31 days
HOUR, DAY = 3600, 86_400
# Readings of a device in each turn. All in one hour, they are enough for statistics by minute.
BATCH = 500
# Seconds after the start of its minute for which a reading is meant. The answer must arrive before the minute is over.
OFFSET, ANSWERED_WITHIN = 10, 45
# Of the device with retention: it becomes a day less in every second turn.
RETENTION_DAYS_MIN = 9
# As `manage.py unseal --statistics`, which says nothing before its end, but this says when it begins.
UNSEAL = "from django.core.management import call_command; print('begun'); call_command('unseal', '--statistics')"
SEALS_WITHIN = 30
# So old that they are sealed, whatever their block: seven days and a block of ten days.
OLD = timedelta(days=18)

# By start of the bucket in seconds since 1970 and metric: count, sum, minimum and maximum.
Statistics = dict[tuple[int, str], tuple[int, float, float, float]]


class Turn(NamedTuple):
    """`far`: readings arrive late for all blocks, not for those of a day. Killed within `seconds` of its begin, or,
    `amid`, of the first block that it seals."""

    command: tuple[str, ...]
    seals: bool
    far: bool = False
    amid: bool = False
    seconds: float = 5.0


MAINTAIN = ("maintain", "--interval", "0.05")
TURNS = (
    Turn(MAINTAIN, seals=True, far=True, amid=True, seconds=1.0),
    Turn(MAINTAIN, seals=True, far=True),
    # Without sealing, which takes longer than that, a round comes to retention.
    Turn(MAINTAIN, seals=False),
    Turn(MAINTAIN, seals=True, amid=True, seconds=1.0),
    Turn(("shell", "--no-imports", "-c", UNSEAL), seals=False, seconds=3.0),
)


class Mote:
    """A device that posts what it has measured in the last DAYS, and what its statistics must be."""

    def __init__(self, server: Server, name: str) -> None:
        self.server, self.name = server, name
        self.key = server.register(name)
        self.values: dict[tuple[int, str], list[float]] = defaultdict(list)

    def post(self, *, first: float, last: float) -> None:
        """Posts a batch of readings at random times, `first` to `last` seconds ago, in any order."""
        now = time.time()
        minutes = [int((now - random.uniform(first, last)) // 60) for _ in range(BATCH)]
        # Sums of multiples of 1/64 are exact, in any order.
        readings = [
            {"age_seconds": now - minute * 60 - OFFSET, "temperature": random.randrange(4096) / 64, "level": n}
            for n, minute in enumerate(minutes)
        ]
        self.server.post_batch(json.dumps(readings).encode(), key=self.key)
        assert time.time() - now < ANSWERED_WITHIN
        for minute, reading in zip(minutes, readings, strict=True):
            for metric in ("temperature", "level"):
                self.values[(minute * 60, metric)].append(reading[metric])

    def expected(self, width: int, begin: int, end: int) -> Statistics:
        found: dict[tuple[int, str], list[float]] = defaultdict(list)
        for (start, metric), values in self.values.items():
            if begin <= start < end:
                found[(start // width * width, metric)] += values
        return {key: (len(all_), math.fsum(all_), min(all_), max(all_)) for key, all_ in found.items()}

    def answered(self, width: int, begin: int, end: int) -> Statistics:
        query = {"bucket": f"{width}s", "start": moment(begin), "end": moment(end)}
        path = f"{self.server.url}/api/v1/devices/{self.name}/aggregate"
        answer = httpx.get(path, params=query, headers=HEADERS, timeout=60)
        assert answer.status_code == 200, answer.text
        return {
            (int(datetime.fromisoformat(bucket["start"]).timestamp()), metric): (
                *(one[figure] for figure in ("count", "sum", "min", "max")),
            )
            for bucket in answer.json()["buckets"]
            for metric, one in bucket["metrics"].items()
        }

    def check(self, *, minutes_of_days: int = DAYS) -> None:
        """Asserts that all statistics by hour, and those by minute of random days, are what was posted."""
        now = int(time.time()) // HOUR * HOUR
        first = now - minutes_of_days * DAY
        other = now - random.randrange(5 * DAY, minutes_of_days * DAY, HOUR)
        windows = [(HOUR, now - (DAYS + 1) * DAY, now + HOUR)]
        windows += [(60, start, start + 5 * DAY) for start in (first, other)]
        for width, begin, end in windows:
            answered, expected = self.answered(width, begin, end), self.expected(width, begin, end)
            wrong = {key for key in answered.keys() | expected.keys() if answered.get(key) != expected.get(key)}
            assert not wrong, [(key, answered.get(key), expected.get(key)) for key in sorted(wrong)[:10]]


@pytest.mark.parametrize("database", ["PostgreSQL", "SQLite"])
def test_sealing_of_statistics_is_killed(tmp_path: Path, record: Record, database: str) -> None:
    with serving(tmp_path, database) as server:
        prove(server, record, database, TIMES)


def prove(server: Server, record: Record, database: str, times: int) -> None:
    fleet = Fleet(server, DEVICES, pause=0.02)
    hourly, fast, expiring = motes = [Mote(server, name) for name in ("hourly", "fast", "expiring")]
    begun = time.time() % HOUR + 20 * DAY
    for mote in (fast, expiring):
        mote.post(first=begun - HOUR / 2, last=begun - 60)  # in one hour, so that statistics by minute begin
    killed = amid = turns = 0
    kinds = cycle(TURNS)
    with fleet.posting():
        while killed < times:
            turns += 1
            assert turns < 2 * times + 10, "the commands end before they are killed"
            retention_days = max(RETENTION_DAYS_MIN, DAYS - turns // 2)
            changed = f"UPDATE devices_device SET retention_days = {retention_days} WHERE device_id = '{expiring.name}'"
            assert ask(server, changed) == 1
            rows, blocks = look(server)
            amid += bool(rows and blocks)
            turn = next(kinds)
            for mote in motes:
                first = random.uniform(0, DAYS - 2) * DAY
                mote.post(first=0 if turn.far else first, last=DAYS * DAY if turn.far else first + DAY)
            killed += killed_amid(server, turn)
            for mote in (hourly, fast):
                mote.check()
            expiring.check(minutes_of_days=retention_days - 1)
    verdict = fleet.verdict()
    while "0 readings rolled up" not in sealing(server, "maintain", "--once"):
        pass
    rows, blocks = look(server)
    assert blocks
    assert not rows, "statistics that are old enough were not sealed"
    expired = f"{datetime.now(UTC) - timedelta(days=retention_days + 1):%Y-%m-%d %H:%M:%S}"
    minutes = f"SELECT count(*) FROM readings_rollupblock WHERE seconds = 60 AND start < '{expired}' AND device_id = "
    assert ask(server, f"{minutes}'{fast.name}'")
    assert not ask(server, f"{minutes}'{expiring.name}'"), "statistics by minute were not deleted with their readings"
    assert "are complete" in sealing(server, "check_log")
    for again in ("sealed", "rows"):
        for mote in (hourly, fast):
            mote.check()
        expiring.check(minutes_of_days=retention_days - 1)
        if again == "sealed":
            manage(server.environment | {"SEAL_AFTER_DAYS": "0"}, "unseal", "--statistics")
    assert amid > times / 4
    compared = sum(len(mote.values) for mote in motes)
    seen = (
        f"a part of what is old was sealed after {amid} of {turns} turns; after each, statistics of up to {compared:,} "
        f"minutes and metrics were those of what was posted; {blocks:,} blocks at the end"
    )
    record(f"{database}: SIGKILL while statistics are sealed or unsealed", times=killed, verdict=verdict, seen=seen)


def killed_amid(server: Server, turn: Turn) -> bool:
    """Runs the command for a random time and kills it. False: it had ended before."""
    environment = server.environment | {"PYTHONUNBUFFERED": "1"}
    environment["SEAL_AFTER_DAYS"] = str(SEAL_AFTER_DAYS) if turn.seals else "0"
    with subprocess.Popen(
        [sys.executable, "manage.py", *turn.command], cwd=settings.BASE_DIR, env=environment, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()  # it begins
        if turn.amid:
            wait_for_a_block(server)
        time.sleep(random.uniform(0.1, turn.seconds))
        running = process.poll() is None
        process.kill()
    return running


def wait_for_a_block(server: Server) -> None:
    """Until the number of blocks rises, or SEALS_WITHIN: late readings make it fall first, in one transaction."""
    deadline = time.monotonic() + SEALS_WITHIN
    least = look(server)[1]
    while (blocks := look(server)[1]) <= least and time.monotonic() < deadline:
        least = min(least, blocks)
        time.sleep(0.05)


def sealing(server: Server, *arguments: str) -> str:
    return manage(server.environment | {"SEAL_AFTER_DAYS": str(SEAL_AFTER_DAYS)}, *arguments)


def look(server: Server) -> tuple[int, int]:
    """How many rollups are rows though they are old enough to be sealed, and how many blocks there are."""
    old = f"{datetime.now(UTC) - OLD:%Y-%m-%d %H:%M:%S}"
    rows = ask(server, f"SELECT count(*) FROM readings_rollup WHERE start < '{old}'")
    return rows, ask(server, "SELECT count(*) FROM readings_rollupblock")


def ask(server: Server, sql: str) -> int:
    """The only number of the result; that of the changed rows, if there is none. Loading Django takes much longer."""
    url = server.environment["DATABASE_URL"]
    opened: Any = (
        psycopg.connect(url)
        if url.startswith("postgres")
        else sqlite3.connect(url.removeprefix("sqlite:///"), timeout=60)
    )
    with closing(opened) as connection:
        cursor = connection.execute(sql)
        row = cursor.fetchone() if cursor.description else None
        connection.commit()
        return int(row[0]) if row else cursor.rowcount


def moment(seconds: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).isoformat()
