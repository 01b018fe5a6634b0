"""PostgreSQL stops under load and comes back: on a server of the test's own."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from telemetry.tests.server import Server, free_port
from telemetry.tests.test_faults import Fleet

pytestmark = pytest.mark.e2e

AWAY_SECONDS = 10
# A 503 comes within 5 s of waiting for the commit, and as long again for the key's look-up; and machines are busy.
ANSWER_SECONDS_MAX = 12
RECOVERY_SECONDS_MAX = 10


class PostgreSQL:
    """A cluster in a temporary folder, run by the account `postgres` where the tests are root, as it insists."""

    def __init__(self) -> None:
        self.binaries = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
        self.folder = Path(tempfile.mkdtemp(prefix="telemetry-postgresql-"))
        self.port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        if os.getuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self.run("initdb", "-A", "trust", "-U", "postgres", "-D", str(self.folder / "data"))

    def command(self, program: str, *arguments: str) -> list[str]:
        account = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        return [*account, str(self.binaries / program), *arguments]

    def run(self, program: str, *arguments: str) -> None:
        subprocess.run(self.command(program, *arguments), check=True, capture_output=True, cwd="/")

    def control(self, action: str, *arguments: str) -> None:
        self.run("pg_ctl", action, "-w", "-D", str(self.folder / "data"), *arguments)

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        self.control("start", "-l", str(self.folder / "log"), "-o", options)

    def stop(self) -> None:
        self.control("stop", "-m", "immediate")

    def freeze(self, on: bool) -> None:
        """Stops every process of it where it stands, or lets them go on: a database that accepts and never answers."""
        postmaster = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        for pid in (postmaster, *children_of(postmaster)):
            os.kill(pid, signal.SIGSTOP if on else signal.SIGCONT)


def children_of(parent: int) -> list[int]:
    """The processes that this one has started (proc(5): the parent is the second field after the command's name)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            status = (entry / "stat").read_text()
        except OSError:  # it has ended meanwhile
            continue
        if int(status.rpartition(")")[2].split()[1]) == parent:
            found.append(int(entry.name))
    return found


@pytest.fixture
def postgresql() -> Iterator[PostgreSQL]:
    cluster = PostgreSQL()
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(cluster.folder)


@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_a_database_that_goes_away_under_load_costs_503s_and_nothing_else(
    tmp_path: Path, postgresql: PostgreSQL, how: str
) -> None:
    with Server(tmp_path, database_url=postgresql.url) as server:
        fleet = Fleet(server, 24)
        with fleet.posting():
            time.sleep(2)
            if how == "stopped":
                postgresql.stop()
                time.sleep(AWAY_SECONDS)
                postgresql.start()
            else:
                postgresql.freeze(True)
                time.sleep(AWAY_SECONDS)
                postgresql.freeze(False)
            back = time.monotonic()
            time.sleep(RECOVERY_SECONDS_MAX)

        assert {status for _, status, _ in fleet.answers} <= {200, 201, 503}
        assert any(status == 503 for _, status, _ in fleet.answers)
        assert max(seconds for _, _, seconds in fleet.answers) < ANSWER_SECONDS_MAX
        assert any(status == 201 and when > back for when, status, _ in fleet.answers)
        fleet.check()
    with psycopg.connect(postgresql.url) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM readings_reading").fetchone() == (True,)
