"""The server is killed under line protocol, sent with Telegraf's rules for retries: what it acknowledged is stored."""

import os
import random
import threading
import time
from pathlib import Path

import httpx
import pytest

from telemetry.tests.proofs.conftest import Record
from telemetry.tests.support.clients.fleet import Verdict
from telemetry.tests.support.servers.postgresql import PostgreSQL
from telemetry.tests.support.servers.server import Server

pytestmark = pytest.mark.prove

TIMES = int(os.environ.get("INFLUX_KILLS", "50"))
AGENTS = 8
LINES = 100


class Agent:
    """Sends batches of lines. A batch is repeated until it is acknowledged, as Telegraf does after any failure."""

    def __init__(self, server: Server, name: str) -> None:
        self.url = f"{server.url}/api/v2/write?org=any&bucket=any&precision=us"
        self.name, self.key = name, server.register(name)
        self.acknowledged = 0
        self.statuses: set[int] = set()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        with httpx.Client(headers={"Authorization": f"Token {self.key}"}, timeout=10) as client:
            while not self.stopping.is_set():
                at = time.time_ns() // 1000
                first = self.acknowledged
                lines = "\n".join(f"m number={first + n}i,share={n}.5 {at + n}" for n in range(LINES))
                while not self.sent(client, lines):
                    time.sleep(0.05)
                self.acknowledged += LINES

    def sent(self, client: httpx.Client, lines: str) -> bool:
        try:
            answer = client.post(self.url, content=lines)
        except httpx.TransportError:
            return False
        self.statuses.add(answer.status_code)
        return answer.status_code == 204


def numbers_of(server: Server, agent: Agent) -> list[int]:
    url: str | None = f"{server.url}/api/v1/devices/{agent.name}/history?order=asc&limit=10000&metrics=number"
    numbers: list[int] = []
    while url:
        page = httpx.get(url, headers={"X-API-Key": agent.key}, timeout=60).json()
        numbers += [reading["number"] for reading in page["results"]]
        url = page["next"]
    return numbers


def test_the_server_is_killed_under_line_protocol(tmp_path: Path, record: Record) -> None:
    with PostgreSQL() as postgresql, Server(tmp_path, database_url=postgresql.url) as server:
        agents = [Agent(server, f"agent-{number}") for number in range(AGENTS)]
        for agent in agents:
            agent.thread.start()
        try:
            for _ in range(TIMES):
                time.sleep(random.uniform(0.2, 0.6))
                server.process.kill()
                server.process.wait()
                server.start()
        finally:
            for agent in agents:
                agent.stopping.set()
            for agent in agents:
                agent.thread.join(60)
        lost = doubled = 0
        for agent in agents:
            numbers = numbers_of(server, agent)
            lost += len(set(range(agent.acknowledged)) - set(numbers))
            doubled += len(numbers) - len(set(numbers))
    assert set().union(*(agent.statuses for agent in agents)) <= {204, 503}
    verdict = Verdict(sum(agent.acknowledged for agent in agents), lost, doubled, 0)
    record("line protocol: SIGKILL", times=TIMES, verdict=verdict, seen="Telegraf's retries; only 204 and 503")
