"""An installation of several processes: `prepare` once, then `serve` and `maintain`."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from django.conf import settings
from websockets.sync.client import connect

from telemetry.tests.support.servers.server import ADMIN_KEY, Server

pytestmark = pytest.mark.e2e


class Installation(Server):
    """Starts no process by itself: each test starts what it needs."""

    def start(self) -> None:
        pass

    def begin(self, *arguments: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            env=self.environment, cwd=settings.BASE_DIR, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def finish(self, *arguments: str) -> str:
        process = self.begin(*arguments)
        printed, _ = process.communicate(timeout=60)
        assert process.returncode == 0, printed
        return printed.decode()


def test_two_that_prepare_one_new_database_at_once_wait_for_each_other(tmp_path: Path) -> None:
    with Installation(tmp_path) as installation:
        installation.process = installation.begin("prepare")
        other = installation.begin("prepare")
        printed = [process.communicate(timeout=60)[0].decode() for process in (installation.process, other)]
        assert [installation.process.returncode, other.returncode] == [0, 0], printed
        assert len(re.findall(r"Account admin, password \S+ \(shown this once\)", "".join(printed))) == 1
        assert installation.finish("prepare").strip() == "Ready."


def test_secrets_that_are_missing_are_made_by_prepare_and_asked_for_by_serve(tmp_path: Path) -> None:
    with Installation(tmp_path) as installation:
        for name in ("SECRET_KEY", "API_SECRET_KEY"):
            del installation.environment[name]
        installation.process = installation.begin("serve")
        printed, _ = installation.process.communicate(timeout=60)
        assert installation.process.returncode == 1
        assert b"telemetry.E001" in printed
        assert b"manage.py prepare" in printed
        assert "Wrote SECRET_KEY and API_SECRET_KEY into" in installation.finish("prepare")


def test_serve_serves_and_maintain_maintains(tmp_path: Path) -> None:
    with Installation(tmp_path) as installation:
        installation.finish("prepare")
        installation.process = installation.begin("serve")
        installation.wait_until_healthy()
        key = installation.register("d-1")
        assert httpx.post(
            f"{installation.url}/api/v1/ingest", json={"temperature": 1}, headers={"X-API-Key": key}
        ).is_success
        second = installation.begin("serve")
        refused, _ = second.communicate(timeout=60)
        assert b"Cannot listen on 127.0.0.1" in refused
        assert "1 reading rolled up" in installation.finish("maintain", "--once")
        installation.process.terminate()
        printed, _ = installation.process.communicate(timeout=10)
        assert installation.process.returncode == 0
        assert b"Serving." in printed


def test_an_alarm_that_maintain_opens_reaches_the_sockets_of_serve(tmp_path: Path) -> None:
    """With Redis it is announced; without, the comparison with the database finds it."""
    with Installation(tmp_path) as installation:
        installation.finish("prepare")
        installation.process = installation.begin("serve")
        installation.wait_until_healthy()
        key = installation.register("d-1")
        admin = {"X-API-Key": ADMIN_KEY}
        rule = {"name": "Hot", "kind": "threshold", "metric": "temperature", "above": 30}
        assert httpx.post(f"{installation.url}/api/v1/alarm-rules", json=rule, headers=admin).is_success
        maintaining = installation.begin("maintain")
        try:
            address = f"{installation.url.replace('http', 'ws')}/api/v1/realtime/subscribe?only=alarms"
            with connect(address, additional_headers=admin) as socket:
                assert [json.loads(socket.recv(10))["type"] for _ in range(2)] == ["subscribed", "alarms"]
                url = f"{installation.url}/api/v1/ingest"
                assert httpx.post(url, json={"temperature": 31}, headers={"X-API-Key": key}).is_success
                frame = json.loads(socket.recv(20))
        finally:
            for process in (maintaining, installation.process):
                process.terminate()
                process.communicate(timeout=20)
        assert frame["open"] == 1
        assert frame["type"] == ("alarm" if settings.REDIS_URL else "alarms")


def test_a_process_with_a_lead_says_that_it_stops_before_it_does(tmp_path: Path) -> None:
    with Installation(tmp_path) as installation:
        installation.finish("prepare")
        installation.process = installation.begin("serve", "--lead", "2")
        installation.wait_until_healthy()
        key = installation.register("d-1")
        assert httpx.get(f"{installation.url}/health/ready").status_code == 200
        with httpx.Client(headers={"X-API-Key": key}) as client:
            installation.process.terminate()
            time.sleep(0.5)
            assert httpx.get(f"{installation.url}/health/ready").status_code == 503
            answer = client.post(f"{installation.url}/api/v1/ingest", json={"temperature": 1})
            assert answer.status_code == 201
            assert answer.headers["connection"] == "close"
        installation.process.communicate(timeout=10)
        assert installation.process.returncode == 0
