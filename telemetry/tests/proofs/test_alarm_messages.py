"""Alarms and their messages while servers are killed, receivers are away, and nobody was there for an hour."""

import json
import os
import random
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from standardwebhooks import Webhook

from readings.log.ids import uuid7
from telemetry.tests.proofs.conftest import Record
from telemetry.tests.support.servers.postgresql import PostgreSQL
from telemetry.tests.support.servers.server import ADMIN_KEY, FLEET_KEY, Server

pytestmark = pytest.mark.prove

KILLS = int(os.environ.get("ALARM_KILLS", "50"))
# Between two batches, of which each opens two or three alarms: a message names at most 100, and is sent every 10 s.
CROSS_SECONDS = 0.5
AWAY_SECONDS = float(os.environ.get("AWAY_SECONDS", "600"))
DEVICES = 20
SILENT_DEVICES = 1_000
# After this time without a new message, nothing more is expected.
QUIET_SECONDS = 25.0
ADMIN = {"X-API-Key": ADMIN_KEY}
FLEET = {"X-API-Key": FLEET_KEY}


class Receiver:
    """A webhook that verifies signatures. `away`: it closes every connection without an answer."""

    def __init__(self) -> None:
        self.secret = ""
        self.away = False
        self.got: list[tuple[str, dict[str, Any]]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.away:
                    self.close_connection = True
                    return
                Webhook(receiver.secret).verify(body, dict(self.headers.items()))
                receiver.got.append((self.headers["webhook-id"], json.loads(body)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add_to(self, server: Server) -> int:
        given = {"name": "proof", "kind": "webhook", "target": f"http://127.0.0.1:{self.server.server_address[1]}/"}
        made = httpx.post(f"{server.url}/api/v1/channels", json=given, headers=ADMIN, timeout=30).raise_for_status()
        self.secret = made.json()["secret"]
        return int(made.json()["id"])

    def wait(self, seconds: float) -> None:
        """Until no message has come for QUIET_SECONDS, at most for `seconds`."""
        deadline, seen, since = time.monotonic() + seconds, len(self.got), time.monotonic()
        while time.monotonic() < deadline and time.monotonic() - since < QUIET_SECONDS:
            if len(self.got) != seen:
                seen, since = len(self.got), time.monotonic()
            time.sleep(0.2)

    def by_alarm(self) -> dict[str, list[str]]:
        """The types of messages about each alarm in the order of arrival, a repeated try of the same message once."""
        found: dict[str, list[str]] = {}
        seen: set[tuple[str, str]] = set()
        for identifier, document in self.got:
            for alarm in document["data"]["alarms"]:
                if (identifier, alarm["id"]) not in seen:
                    seen.add((identifier, alarm["id"]))
                    found.setdefault(alarm["id"], []).append(document["type"])
        return found


def make_rule(server: Server, channel: int, **given: Any) -> None:
    rule = {"name": "Hot", "kind": "threshold", "metric": "temperature", "above": 30, "channels": [channel]} | given
    httpx.post(f"{server.url}/api/v1/alarm-rules", json=rule, headers=ADMIN, timeout=30).raise_for_status()


def post(server: Server, readings: list[dict[str, Any]]) -> None:
    """Posts until it is acknowledged; each reading has an id, so that a second try stores nothing twice."""
    while True:
        try:
            answer = httpx.post(f"{server.url}/api/v1/ingest/batch", json=readings, headers=FLEET, timeout=20)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            if answer.is_success:
                return
            assert answer.status_code == 503, answer.text
            time.sleep(0.1)


def reading(device_id: str, temperature: float, at: datetime) -> dict[str, Any]:
    return {
        "device_id": device_id,
        "id": str(uuid7()),
        "temperature": temperature,
        "timestamp": at.isoformat(),
    }


def alarms_of(url: str) -> list[tuple[str, bool]]:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT device_id, resolved_at IS NULL FROM alarms_alarm").fetchall()


def fail_unless_in_order(receiver: Receiver, *, ended: bool) -> None:
    for kinds in receiver.by_alarm().values():
        assert kinds in (["alarm.opened", "alarm.resolved"], ["alarm.resolved"]) or (
            not ended and kinds == ["alarm.opened"]
        ), kinds


def test_the_server_is_killed_while_values_cross_a_threshold(tmp_path: Path, record: Record) -> None:
    receiver = Receiver()
    names = [f"d-{number}" for number in range(DEVICES)]
    with PostgreSQL() as postgresql, Server(tmp_path, database_url=postgresql.url) as server:
        for name in names:
            server.register(name)
        make_rule(server, receiver.add_to(server))
        crossings = dict.fromkeys(names, 0)
        stop = threading.Event()

        def cross() -> None:
            hot = dict.fromkeys(names, False)
            while not stop.is_set():
                chosen = random.sample(names, 5)
                for name in chosen:
                    hot[name] = not hot[name]
                    crossings[name] += hot[name]
                now = datetime.now(UTC)
                post(server, [reading(name, 31 if hot[name] else 20, now) for name in chosen])
                time.sleep(CROSS_SECONDS)
            now = datetime.now(UTC)
            post(server, [reading(name, 20, now) for name in names])

        crossing = threading.Thread(target=cross)
        crossing.start()
        for _ in range(KILLS):
            time.sleep(random.uniform(0.5, 2.5))
            server.process.kill()
            server.process.wait()
            server.start()
        stop.set()
        crossing.join()
        receiver.wait(300)
        alarms = alarms_of(postgresql.url)
    assert Counter(name for name, _ in alarms) == {name: count for name, count in crossings.items() if count}
    assert not any(is_open for _, is_open in alarms)
    told = receiver.by_alarm()
    fail_unless_in_order(receiver, ended=True)
    left_out = sum(document["data"]["count"] - len(document["data"]["alarms"]) for _, document in receiver.got)
    assert left_out == 0, "a message had more alarms than it names"
    assert len(told) == len(alarms)
    ids = [identifier for identifier, _ in receiver.got]
    assert len({json.dumps(document, sort_keys=True) for _, document in receiver.got}) == len(set(ids))
    twice = len(ids) - len(set(ids))
    seen = (
        f"{len(alarms)} crossings, each alarmed once; {len(set(ids))} messages, {twice} of them tried again, in order"
    )
    record("server: SIGKILL while values cross a threshold", times=KILLS, seen=seen)


def test_a_receiver_is_away(tmp_path: Path, record: Record) -> None:
    receiver = Receiver()
    with PostgreSQL() as postgresql, Server(tmp_path, database_url=postgresql.url) as server:
        names = [f"d-{number}" for number in range(DEVICES)]
        for name in names:
            server.register(name)
        make_rule(server, receiver.add_to(server))
        receiver.away = True
        until, hot = time.monotonic() + AWAY_SECONDS, False
        while time.monotonic() < until:
            hot = not hot
            now = datetime.now(UTC)
            post(server, [reading(name, 31 if hot else 20, now) for name in names])
            time.sleep(7)
        post(server, [reading(name, 20, datetime.now(UTC)) for name in names])
        time.sleep(15)
        receiver.away = False
        back = time.monotonic()
        waiting = 1
        while waiting and time.monotonic() - back < 900:
            time.sleep(1)
            with psycopg.connect(postgresql.url) as connection:
                row = connection.execute("SELECT count(*) FROM alarms_delivery WHERE state = 'waiting'").fetchone()
                waiting = row[0] if row else 0
        took = time.monotonic() - back
        alarms = alarms_of(postgresql.url)
    assert waiting == 0
    fail_unless_in_order(receiver, ended=True)
    assert len(receiver.by_alarm()) == len(alarms)
    seen = f"{len(alarms)} alarms in {len(receiver.got)} messages, all in order, {took:.0f} s after it was back"
    record(f"a receiver of messages is away for {AWAY_SECONDS:.0f} s", seen=seen)


def test_a_server_was_away_and_backlogs_come_late(tmp_path: Path, record: Record) -> None:
    """1,000 devices are silent because the server was off; then each sends a backlog with one thaw."""
    receiver = Receiver()
    with PostgreSQL() as postgresql, Server(tmp_path, database_url=postgresql.url) as server:
        names = [f"d-{number}" for number in range(SILENT_DEVICES)]
        for name in names:
            server.register(name)
        channel = receiver.add_to(server)
        make_rule(server, channel)
        make_rule(server, channel, name="Silent", kind="silence", seconds=300, metric=None, above=None)
        post(server, [reading(name, 20, datetime.now(UTC)) for name in names])
        time.sleep(3)
        server.process.terminate()
        server.process.wait()
        # The hour in which the server is off: everything that was heard was heard an hour earlier.
        with psycopg.connect(postgresql.url) as connection:
            connection.execute("UPDATE devices_devicestate SET last_seen_at = last_seen_at - interval '1 hour'")
            connection.execute(
                "UPDATE alarms_reception SET since = since - interval '2 h', until = until - interval '1 h'"
            )
        server.start()
        time.sleep(20)
        assert receiver.got == []
        past = datetime.now(UTC) - timedelta(minutes=40)
        backlog = [
            reading(name, temperature, past + timedelta(minutes=10 * step))
            for step, temperature in enumerate((20, 31, 20))
            for name in names
        ]
        for first in range(0, len(backlog), SILENT_DEVICES):
            post(server, backlog[first : first + SILENT_DEVICES])
        receiver.wait(120)
        alarms = alarms_of(postgresql.url)
    assert len(alarms) == SILENT_DEVICES
    told = sum(document["data"]["count"] for _, document in receiver.got if document["type"] == "alarm.resolved")
    assert told == SILENT_DEVICES
    assert len(receiver.got) <= 6
    seen = f"no alarm from the hour; {SILENT_DEVICES:,} late alarms with both times, in {len(receiver.got)} messages"
    record("a server is off for an hour, then 1,000 backlogs", seen=seen)
