"""Files with secrets or data are readable for the server's account only."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings

from telemetry.configuration.checks import check_configuration
from telemetry.configuration.private_files import PrivateConnection, tighten
from telemetry.tests.support.servers.server import Server

ENDINGS = ("", "-wal", "-shm")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def open_ones(folder):
    """The files in a folder on which others have permissions."""
    return {path.name: oct(mode(path)) for path in folder.iterdir() if path.is_file() and mode(path) & 0o077}


@pytest.fixture
def usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def database(tmp_path):
    return tmp_path / "telemetry.sqlite3"


def write(connection):
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE IF NOT EXISTS t (x)")
    connection.execute("INSERT INTO t VALUES (1)")
    connection.commit()


@pytest.mark.usefixtures("usual_umask")
class TestDatabase:
    def test_it_is_made_private_with_what_lies_beside_it(self, tmp_path, database):
        connection = sqlite3.connect(database, factory=PrivateConnection)
        write(connection)
        assert {f"telemetry.sqlite3{ending}" for ending in ENDINGS} == {path.name for path in tmp_path.iterdir()}
        assert open_ones(tmp_path) == {}
        connection.close()

    def test_one_that_others_may_read_becomes_private(self, tmp_path, database):
        before = sqlite3.connect(database)
        write(before)
        (tmp_path / "telemetry.sqlite3-maintenance").touch()
        assert len(open_ones(tmp_path)) == 4
        after = sqlite3.connect(database, factory=PrivateConnection)
        assert open_ones(tmp_path) == {}
        before.close()
        after.close()

    def test_many_threads_that_open_a_new_one_at_once_lose_no_lock(self, tmp_path, database):
        failures = []

        def work():
            try:
                connection = sqlite3.connect(database, timeout=20, factory=PrivateConnection)
                # Not in WAL mode, and locked from the start: SQLite waits for no lock while it changes the mode, nor
                # while a transaction that has read begins to write.
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("CREATE TABLE IF NOT EXISTS t (x)")
                connection.execute("INSERT INTO t VALUES (1)")
                connection.commit()
                connection.close()
            except sqlite3.Error as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert sqlite3.connect(database).execute("SELECT count(*) FROM t").fetchone() == (16,)

    def test_a_folder_that_is_not_there_is_said_by_sqlite(self, tmp_path):
        with pytest.raises(sqlite3.OperationalError, match="unable to open"):
            sqlite3.connect(tmp_path / "nowhere" / "telemetry.sqlite3", factory=PrivateConnection)


class TestTightening:
    def test_a_file_of_ours_is_for_us_alone(self, tmp_path):
        file = tmp_path / ".env"
        file.touch()
        file.chmod(0o664)
        tighten(file)
        assert mode(file) == 0o600

    def test_a_group_that_was_given_a_file_keeps_it(self, tmp_path, monkeypatch):
        file = tmp_path / ".env"
        file.touch()
        file.chmod(0o644)
        monkeypatch.setattr(os, "getegid", lambda: file.stat().st_gid + 1)
        tighten(file)
        assert mode(file) == 0o640

    def test_what_is_no_file_or_not_there_is_left_alone(self, tmp_path):
        tmp_path.chmod(0o755)
        tighten(tmp_path)
        tighten(tmp_path / "nothing")
        assert mode(tmp_path) == 0o755
        tighten(Path("/dev/null"))
        assert mode(Path("/dev/null")) & 0o006 == 0o006

    def test_somebody_elses_is_a_warning(self, tmp_path, settings, monkeypatch):
        file = tmp_path / ".env"
        file.touch()
        file.chmod(0o644)
        settings.ENV_FILE = file
        monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
        tighten(file)
        assert mode(file) == 0o644
        (warning,) = [found for found in check_configuration(None) if found.id == "telemetry.W001"]
        assert f"chmod 600 {file}" in str(warning.hint)


def run(folder, *command):
    """Runs a management command in a new folder, with the usual umask of a shell."""
    environment: dict[str, Any] = {
        "PATH": os.environ["PATH"],
        "ENV_FILE": str(folder / ".env"),
        "DATABASE_URL": f"sqlite:///{folder / 'telemetry.sqlite3'}",
    }
    done = subprocess.run(
        [sys.executable, "manage.py", *command],
        env=environment,
        cwd=settings.BASE_DIR,
        umask=0o022,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.once
@pytest.mark.e2e
class TestEveryWayToStart:
    def test_prepare_migrate_and_maintain(self, tmp_path):
        for command in (["prepare"], ["migrate", "-v0"], ["maintain", "--once"], ["check"]):
            run(tmp_path, *command)
            assert open_ones(tmp_path) == {}, command
        assert {path.name for path in tmp_path.iterdir()} >= {
            ".env",
            "telemetry.sqlite3",
            "telemetry.sqlite3-migration",
        }

    def test_migrate_first(self, tmp_path):
        (tmp_path / ".env").write_text("SECRET_KEY=" + "s" * 40 + "\nAPI_SECRET_KEY=" + "a" * 40)
        (tmp_path / ".env").chmod(0o644)
        run(tmp_path, "migrate", "-v0")
        assert open_ones(tmp_path) == {}

    @pytest.mark.parametrize("uvicorn", [False, True], ids=["up", "uvicorn"])
    def test_a_server(self, tmp_path, uvicorn, usual_umask):
        database = tmp_path / "db.sqlite3"
        with Server(tmp_path, uvicorn=uvicorn, database_url=f"sqlite:///{database}", redis_url="") as server:
            key = {"X-API-Key": server.register("mote-1")}
            # A post keeps a connection open; SQLite deletes the -wal and -shm files with the last connection.
            assert httpx.post(f"{server.url}/api/v1/ingest", json={"temperature": 21.5}, headers=key).status_code == 201
            found = open_ones(tmp_path)
            assert {path.name for path in tmp_path.iterdir()} >= {"db.sqlite3", "db.sqlite3-wal", "db.sqlite3-shm"}
        assert found.keys() <= {server.log.name}  # the test's own log
