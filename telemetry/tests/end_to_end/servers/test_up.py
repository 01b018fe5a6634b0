"""`manage.py up` on a new installation, again, and if it cannot start; and `manage.py simulate` with it."""

import os
import re
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings

from telemetry.tests.support.servers.server import Server, free_port

pytestmark = pytest.mark.e2e

SECRETS = {"SECRET_KEY", "API_SECRET_KEY"}


class Installation(Server):
    """A server without secrets, which can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, demo=True, migrated=False)
        self.env_file = Path(self.environment["ENV_FILE"])
        for name in SECRETS:
            del self.environment[name]

    def begin(self) -> str:
        """Starts the server; returns its output."""
        self.start()
        return self.whole_summary()

    def whole_summary(self) -> str:
        deadline = time.monotonic() + 10
        while "Ctrl-C" not in (printed := self.log.read_text()):
            assert time.monotonic() < deadline, printed
            time.sleep(0.05)
        return printed

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def secrets(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.env_file.read_text().splitlines())

    def api(self, method: str, path: str, **request: Any) -> Any:
        key = self.secrets()["API_SECRET_KEY"]
        return httpx.request(
            method, f"{self.url}/api/v1{path}", headers={"X-API-Key": key}, timeout=30, **request
        ).json()

    def demo_after(self, seq: int) -> int:
        """Waits until the demo device's log is longer than `seq`; returns its length."""
        deadline = time.monotonic() + 10
        while (last_seq := self.api("GET", "/devices/demo")["last_seq"]) <= seq:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)
        return int(last_seq)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(tmp_path_factory.mktemp("up")) as server:
        yield server


@pytest.fixture(scope="module")
def printed(installation: Installation) -> str:
    """The output of the first start."""
    return installation.whole_summary()


def signs_in(installation: Installation, username: str, password: str) -> bool:
    with httpx.Client(base_url=installation.url, follow_redirects=True, timeout=30) as client:
        client.get("/admin/login/")
        form = {"username": username, "password": password, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
        return "sessionid" in client.post("/admin/login/", data=form).request.headers.get("cookie", "")


def account(printed: str) -> tuple[str, str]:
    match = re.search(r"Account +(\S+)\s+Password +(\S+) ", printed)
    assert match, printed
    return match[1], match[2]


@pytest.mark.main
@pytest.mark.once
def test_the_first_start_writes_secrets_that_only_their_owner_reads(installation, printed):
    secrets = installation.secrets()
    assert secrets.keys() == SECRETS
    assert all(len(secret) >= 40 for secret in secrets.values())
    assert len(set(secrets.values())) == 2
    assert stat.S_IMODE(installation.env_file.stat().st_mode) == 0o600
    assert str(installation.env_file) in printed
    assert not any(secret in printed for secret in secrets.values())


@pytest.mark.main
@pytest.mark.once
def test_it_prints_an_account_that_signs_in(installation, printed):
    username, password = account(printed)
    assert signs_in(installation, username, password)
    assert not signs_in(installation, username, password + "x")


@pytest.mark.main
@pytest.mark.once
def test_the_addresses_it_prints_are_there(installation, printed):
    addresses = re.findall(r"(?:Console|Live|Guide|API) +(http://\S+)", printed)
    assert len(addresses) == 4
    for address in addresses:
        assert address.startswith(installation.url)
        assert httpx.get(address, follow_redirects=True).status_code == 200


@pytest.mark.main
@pytest.mark.once
def test_the_curl_it_prints_posts_a_reading(installation, printed):
    match = re.search(r"curl -X POST .*?'\{.*?\}'", printed, re.DOTALL)
    assert match, printed
    words = shlex.split(match[0].replace("\\\n", ""))
    if shutil.which("curl"):
        command = [*words, "-s", "-o", os.devnull, "-w", "%{http_code}"]
        status = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    else:
        _, _, _, url, *pairs = words
        options = list(zip(pairs[::2], pairs[1::2], strict=True))
        headers = dict(value.split(": ", 1) for name, value in options if name == "-H")
        status = str(httpx.post(url, content=dict(options)["-d"], headers=headers).status_code)
    assert status == "201"
    log = installation.api("GET", "/devices/demo/history")["results"]
    assert {"temperature": 35.0}.items() <= next(r for r in log if "humidity" not in r).items()


def test_the_demo_device_moves(installation, printed):
    installation.demo_after(installation.demo_after(0))


def test_simulate_stores_what_it_says(installation, printed):
    simulate = [sys.executable, "manage.py", "simulate", "--devices=3", "--interval=0.1", "--duration=2"]
    environment = installation.environment | installation.secrets()
    run = subprocess.run(
        simulate, env=environment, cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=30, check=True
    )
    # The last line: on a busy machine there are others before, which tell of the progress.
    match = re.search(r".*\b(\d+) readings stored .* 0 attempts repeated", run.stdout, re.DOTALL)
    assert match, run.stdout
    devices = installation.api("GET", "/devices?search=sim-")["results"]
    assert [device["device_id"] for device in devices] == ["sim-001", "sim-002", "sim-003"]
    assert all(device["last_seq"] >= 10 for device in devices)
    # Requests that were running at the end may be stored without an answer.
    assert int(match[1]) <= sum(device["last_seq"] for device in devices) <= int(match[1]) + 3


def test_the_second_start_keeps_what_the_first_made(installation, printed):
    before, length = installation.env_file.read_text(), installation.demo_after(0)
    installation.stop()
    again = installation.begin()
    assert installation.env_file.read_text() == before
    assert "Password" not in again
    assert "Wrote" not in again
    assert signs_in(installation, *account(printed))
    installation.demo_after(length)


def failure(folder: Path, **environment: str) -> str:
    """The error that `up` prints when it cannot start."""
    run = subprocess.run(
        [sys.executable, "manage.py", "up"],
        env={
            "PATH": os.environ["PATH"],
            "ENV_FILE": str(folder / ".env"),
            "SECRET_KEY": "secret-key-of-the-server-0123456789-0123456789",
            "API_SECRET_KEY": "admin-key-of-the-server-0123456789",
            "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
            "PORT": str(free_port()),
            **environment,
        },
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 1, run
    assert "Traceback" not in run.stderr
    return run.stderr


@pytest.fixture
def port_in_use() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield str(taken.getsockname()[1])


def test_a_port_in_use_is_said_to_be(tmp_path, port_in_use):
    message = failure(tmp_path, PORT=port_in_use)
    assert f"CommandError: Cannot listen on 127.0.0.1:{port_in_use}: Address already in use" in message
    assert not (tmp_path / "db.sqlite3").exists()


@pytest.mark.parametrize("url", ["postgresql://postgres@127.0.0.1:1/telemetry", "sqlite:////nowhere/at/all/db.sqlite3"])
def test_a_database_that_is_away_is_said_to_be(tmp_path, url):
    assert "CommandError: The database cannot be reached. Check DATABASE_URL" in failure(tmp_path, DATABASE_URL=url)


@pytest.mark.parametrize(
    ("environment", "identifier"),
    [
        ({"APP_ENV": "production", "DEBUG": "true"}, "telemetry.E013"),
        ({"API_SECRET_KEY": "short"}, "telemetry.E002"),
    ],
)
def test_an_unsafe_configuration_stops_the_start(tmp_path, environment, identifier):
    assert identifier in failure(tmp_path, **environment)
    assert not (tmp_path / "db.sqlite3").exists()


@pytest.mark.parametrize(("name", "value"), [("DATABASE_URL", "mysql://root@127.0.0.1/telemetry"), ("PORT", "http")])
def test_a_value_that_cannot_be_read_is_named(tmp_path, name, value):
    assert name in failure(tmp_path, **{name: value})


def test_what_stands_in_the_env_file_stays_and_nobody_else_may_read_it(tmp_path, port_in_use):
    file = tmp_path / ".env"
    file.write_text("LOG_LEVEL=INFO\nAPI_SECRET_KEY=\nLOG_FORMAT=json")
    file.chmod(0o644)
    failure(tmp_path, SECRET_KEY="", API_SECRET_KEY="", PORT=port_in_use)
    lines = file.read_text().splitlines()
    assert lines[:3] == ["LOG_LEVEL=INFO", "API_SECRET_KEY=", "LOG_FORMAT=json"]
    assert {line.partition("=")[0] for line in lines[3:]} == SECRETS
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_empty_secret_in_the_environment_does_not_hide_the_one_in_the_file(tmp_path, port_in_use):
    failure(tmp_path, SECRET_KEY="", PORT=port_in_use)
    written = (tmp_path / ".env").read_text()
    failure(tmp_path, SECRET_KEY="", PORT=port_in_use)
    assert (tmp_path / ".env").read_text() == written
