"""The scripts in docs/deployment: backup, restore, upgrade and undo."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
import uuid
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from django.conf import settings
from django.db import connection

from telemetry.tests.support.servers.server import ADMIN_KEY, Server
from telemetry.tests.support.servers.template import administer, server_url

pytestmark = pytest.mark.e2e

SCRIPTS = settings.BASE_DIR / "docs" / "deployment"
NAMES = ("backup", "restore", "upgrade", "undo")
ADMIN = {"X-API-Key": ADMIN_KEY}


def run(name, *arguments, environment, succeeds=True, folder=SCRIPTS):
    done = subprocess.run(
        [str(folder / name), *map(str, arguments)], env=environment, umask=0o022, capture_output=True, text=True
    )
    assert (done.returncode == 0) == succeeds, done.stdout + done.stderr
    return (done.stdout if succeeds else done.stderr).strip()


def open_to_others(folder):
    """Files and folders at or below `folder` that another account may read."""
    return [path for path in (folder, *folder.rglob("*")) if stat.S_IMODE(path.stat().st_mode) & 0o077]


@contextmanager
def new_database(server, folder):
    """The address of a database that does not exist (SQLite), or is empty (PostgreSQL)."""
    if connection.vendor == "sqlite":
        yield f"sqlite:///{folder / 'restored.sqlite3'}"
        return
    name = f"telemetry_restored_{uuid.uuid4().hex[:8]}"
    administer(f"CREATE DATABASE {name}")
    try:
        yield server_url(name)
    finally:
        administer(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def posting(server, key):
    """Posts readings one after the other meanwhile; yields the list of acknowledged sequence numbers."""
    acknowledged: list[int] = []
    stop = threading.Event()

    def post():
        with httpx.Client(headers={"X-API-Key": key}) as client:
            while not stop.is_set():
                answer = client.post(f"{server.url}/api/v1/ingest", json={"temperature": len(acknowledged) / 7})
                acknowledged.append(answer.json()["seq"])

    thread = threading.Thread(target=post)
    thread.start()
    try:
        yield acknowledged
    finally:
        stop.set()
        thread.join()


def answers(server, until):
    """The device, its log up to the number `until`, and its statistics up to that reading."""
    device = f"{server.url}/api/v1/devices/mote-1"
    ask = {"order": "asc", "limit": until}
    log = httpx.get(f"{device}/history", params=ask, headers=ADMIN).json()["results"]
    ask = {"start": log[0]["timestamp"], "end": log[-1]["timestamp"]}
    statistics = httpx.get(f"{device}/aggregate", params=ask, headers=ADMIN).json()
    found = httpx.get(device, headers=ADMIN).json()
    return log, statistics, {name: found[name] for name in ("id", "name", "created_at")}


class TestBackupAndRestore:
    def test_a_backup_under_load_restores_to_equal_answers(self, tmp_path):
        backups = tmp_path / "backups"
        with Server(tmp_path) as server, new_database(server, tmp_path) as place:
            (tmp_path / ".env").write_text("RETENTION_DAYS=400\n")
            key = server.register("mote-1")
            with posting(server, key) as acknowledged:
                while len(acknowledged) < 20:
                    threading.Event().wait(0.02)
                before = len(acknowledged)
                backup = Path(run("backup", backups, environment=server.environment))
            assert open_to_others(backups) == []
            assert (backup / "settings").read_text() == "RETENTION_DAYS=400\n"
            refused = run("restore", backup, environment=server.environment, succeeds=False)
            assert "exists: stop the server" in refused or "tables: set DATABASE_URL to an empty database" in refused
            known = answers(server, before)

            restored = server.environment | {"DATABASE_URL": place}
            assert run("restore", backup, environment=restored).startswith("Restored.")
            (tmp_path / "restored").mkdir()
            with Server(tmp_path / "restored", database_url=place, redis_url="") as second:
                assert answers(second, before) == known
                assert before <= len(second.log_of("mote-1")) <= len(acknowledged)
                # The key is valid and the log goes on with its next number.
                posted = httpx.post(f"{second.url}/api/v1/ingest", json={"temperature": 1}, headers={"X-API-Key": key})
                assert posted.json()["seq"] == len(second.log_of("mote-1"))
        assert [path for path in tmp_path.iterdir() if "partial" in path.name] == []


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """(the environment of an installation on SQLite with tables and no server, a backup of it)."""
    folder = tmp_path_factory.mktemp("installation")
    environment = {
        "PATH": os.environ["PATH"],
        "ENV_FILE": str(folder / ".env"),
        "DATABASE_URL": f"sqlite:///{folder / 'telemetry.sqlite3'}",
    }
    subprocess.run([sys.executable, "manage.py", "prepare"], cwd=settings.BASE_DIR, env=environment, check=True)
    return environment, Path(run("backup", folder / "backups", environment=environment))


@pytest.mark.once
class TestBackups:
    def test_the_newest_are_kept_and_nothing_else_is_deleted(self, tmp_path, prepared):
        names = {"telemetry-20250101T000000Z", "telemetry-20250102T000000Z", "telemetry-by-hand", "other"}
        for name in names:
            (tmp_path / name).mkdir()
        newest = run("backup", tmp_path, 2, environment=prepared[0])
        assert {path.name for path in tmp_path.iterdir()} == names - {"telemetry-20250101T000000Z"} | {
            Path(newest).name
        }

    @pytest.mark.parametrize("arguments", [[], ["x", "0"], ["x", "-1"], ["x", "many"], ["x", "1", "y"]])
    def test_arguments_that_mean_nothing_are_refused(self, arguments):
        assert "Usage" in run("backup", *arguments, environment={"PATH": os.environ["PATH"]}, succeeds=False)

    def test_a_backup_that_fails_leaves_nothing_and_deletes_nothing(self, tmp_path, prepared):
        (tmp_path / "telemetry-20250101T000000Z").mkdir()
        missing = prepared[0] | {"DATABASE_URL": f"sqlite:///{tmp_path / 'missing.sqlite3'}"}
        assert "There is no" in run("backup", tmp_path, 1, environment=missing, succeeds=False)
        assert [path.name for path in tmp_path.iterdir()] == ["telemetry-20250101T000000Z"]

    @pytest.mark.parametrize("file", ["database.sqlite3", "settings"])
    def test_a_backup_that_was_changed_is_not_restored(self, tmp_path, prepared, file):
        changed = shutil.copytree(prepared[1], tmp_path / "changed")
        with (changed / file).open("r+b") as opened:
            opened.seek(30)
            opened.write(b"\xff")
        place = prepared[0] | {"DATABASE_URL": f"sqlite:///{tmp_path / 'new.sqlite3'}"}
        assert "has changed" in run("restore", changed, environment=place, succeeds=False)
        assert not (tmp_path / "new.sqlite3").exists()

    @pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
    def test_an_existing_file_is_not_overwritten(self, tmp_path, prepared, suffix):
        existing = tmp_path / f"new.sqlite3{suffix}"
        existing.write_text("mine")
        place = prepared[0] | {"DATABASE_URL": f"sqlite:///{tmp_path / 'new.sqlite3'}"}
        assert f"{existing} exists" in run("restore", prepared[1], environment=place, succeeds=False)
        assert existing.read_text() == "mine"

    def test_a_backup_of_the_other_database_is_refused(self, prepared):
        place = prepared[0] | {"DATABASE_URL": "postgresql://127.0.0.1:1/nowhere"}
        assert "This is a backup of SQLite" in run("restore", prepared[1], environment=place, succeeds=False)

    def test_settings_that_cannot_be_used_are_named(self, tmp_path, prepared):
        wrong = prepared[0] | {"DATABASE_URL": "mysql://127.0.0.1/nowhere"}
        assert "an unsupported database" in run("backup", tmp_path, environment=wrong, succeeds=False)


@pytest.mark.postgresql
def test_a_password_with_special_characters_is_passed_to_postgresql_alone(tmp_path):
    """`ps` shows no password, and no shell reads it."""
    stub = tmp_path / "pg_dump"
    stub.write_text(
        '#!/bin/sh\necho "$PGPASSWORD|$PGUSER|$PGHOST|$PGPORT|$PGDATABASE|$PGSSLMODE|$PGSSLROOTCERT|$*" >&2\nexit 1\n'
    )
    stub.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "ENV_FILE": "/dev/null",
        "DATABASE_URL": "postgresql://fleet:p%40%24%28id%29%27%22%20x@db.example.org:5433/log?sslmode=verify-full&sslrootcert=/etc/ca.pem",
    }
    said = run("backup", tmp_path / "backups", environment=environment, succeeds=False)
    assert said.startswith("p@$(id)'\" x|fleet|db.example.org|5433|log|verify-full|/etc/ca.pem|--no-password")


SYSTEMCTL = """#!/bin/sh
case $1 in
list-units)
    [ -e "$CALLS.stopped" ] && [ "$2" != --all ] && exit
    printf 'telemetry-web@%s.service loaded active running Telemetry\\n' 8001 8002
    case $* in *telemetry-mqtt*) printf 'telemetry-mqtt.service loaded active running MQTT\\n' ;; esac ;;
stop) touch "$CALLS.stopped"; echo "systemctl $*" >>"$CALLS" ;;
*) echo "systemctl $*" >>"$CALLS" ;;
esac
"""
ALL_UNITS = "telemetry-web@8001.service telemetry-web@8002.service telemetry-mqtt.service telemetry-maintain"
CURL = """#!/bin/sh
for last in "$@"; do :; done
echo "curl $last" >>"$CALLS"
"""
PYTHON = f"""#!/bin/sh
case $* in
"-m pip"*) echo "pip" >>"$CALLS" ;;
"manage.py prepare" | "manage.py unseal" | "manage.py migrate"*) echo "$*" >>"$CALLS"; exec {sys.executable} "$@" ;;
*) exec {sys.executable} "$@" ;;
esac
"""
# The last migration of the version before.
LAST_MIGRATION = max(path.stem for path in (settings.BASE_DIR / "telemetry" / "migrations").glob("0*.py"))
NEXT_MIGRATION = f"""
from django.db import migrations

class Migration(migrations.Migration):
    dependencies = [("telemetry", "{LAST_MIGRATION}"), ("readings", "0001_initial")]
    operations = [migrations.RunSQL("CREATE TABLE telemetry_next (id integer)", "DROP TABLE telemetry_next")]
"""


def git(folder, *arguments):
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def environment_of(folder):
    return {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "HOME": str(folder),
        "ENV_FILE": str(folder / "env"),
        "SERVICE_USER": subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip(),
        "CALLS": str(folder / "calls"),
    }


@pytest.fixture(scope="module")
def first_machine(tmp_path_factory):
    """The folder of a prepared installation, which is copied for each test; see `machine`."""
    folder = tmp_path_factory.mktemp("machine")
    origin, installed, commands = folder / "origin", folder / "telemetry", folder / "bin"
    origin.mkdir()
    for name in ("telemetry", "devices", "readings", "realtime", "docs/deployment"):
        ignored = shutil.ignore_patterns("tests", "__pycache__", "node_modules")
        shutil.copytree(settings.BASE_DIR / name, origin / name, ignore=ignored)
    for name in ("manage.py", "requirements.txt", ".gitignore"):
        shutil.copy(settings.BASE_DIR / name, origin / name)
    git(origin, "init", "--quiet")
    git(origin, "add", ".")
    git(origin, "commit", "--quiet", "-m", "first")
    git(folder, "clone", "--quiet", "origin", "telemetry")
    python = installed / ".venv" / "bin" / "python"
    for path, text in ((commands / "systemctl", SYSTEMCTL), (commands / "curl", CURL), (python, PYTHON)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    (folder / "env").write_text(f"DATABASE_URL=sqlite:///{folder / 'telemetry.sqlite3'}\n")
    prepare = [sys.executable, "manage.py", "prepare"]
    subprocess.run(prepare, cwd=installed, env=environment_of(folder), check=True)
    return folder


@pytest.fixture
def machine(tmp_path, first_machine):
    """(installation, its repository's origin, environment); systemctl, curl and pip only write down their calls."""
    shutil.copytree(first_machine, tmp_path, dirs_exist_ok=True)
    origin, installed = tmp_path / "origin", tmp_path / "telemetry"
    git(installed, "remote", "set-url", "origin", str(origin))
    env = tmp_path / "env"
    env.write_text(env.read_text().replace(str(first_machine), str(tmp_path)))
    return installed, origin, environment_of(tmp_path)


def tables(tmp_path):
    with sqlite3.connect(tmp_path / "telemetry.sqlite3") as database:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


@pytest.mark.once
def test_an_upgrade_restarts_one_process_after_the_other_and_can_be_undone(machine, tmp_path):
    installed, origin, environment = machine
    scripts = installed / "docs" / "deployment"
    first = git(installed, "rev-parse", "HEAD")
    (origin / "telemetry" / "migrations" / "9999_next.py").write_text(NEXT_MIGRATION)
    git(origin, "add", ".")
    git(origin, "commit", "--quiet", "-m", "second")

    said = run("upgrade", tmp_path / "backups", environment=environment, folder=scripts)

    assert git(installed, "rev-parse", "HEAD") == git(origin, "rev-parse", "HEAD") != first
    assert "telemetry_next" in tables(tmp_path)
    calls = Path(environment["CALLS"])
    assert calls.read_text().splitlines() == [
        "pip",
        "manage.py prepare",
        "systemctl restart telemetry-web@8001.service",
        "curl http://127.0.0.1:8001/health/ready",
        "systemctl restart telemetry-web@8002.service",
        "curl http://127.0.0.1:8002/health/ready",
        "systemctl restart telemetry-maintain",
        "systemctl try-restart telemetry-mqtt",
    ]
    calls.unlink()
    backup = said.rpartition(" ")[2]
    assert Path(backup, "version").read_text().strip() == first

    run("undo", backup, environment=environment, folder=scripts)

    assert git(installed, "rev-parse", "HEAD") == first
    assert "telemetry_next" not in tables(tmp_path)
    assert calls.read_text().splitlines() == [
        f"systemctl stop {ALL_UNITS}",
        f"manage.py migrate --verbosity 0 telemetry {LAST_MIGRATION}",
        "pip",
        "manage.py prepare",
        f"systemctl start {ALL_UNITS}",
    ]
    calls.unlink()

    run("undo", backup, environment=environment, folder=scripts)  # as after an attempt that failed

    start = f"systemctl start {ALL_UNITS}"
    assert calls.read_text().splitlines()[-1] == start


@pytest.mark.once
def test_readings_are_unsealed_before_an_upgrade_to_sealing_is_undone(machine, tmp_path):
    installed, _, environment = machine
    scripts = installed / "docs" / "deployment"
    backup = Path(run("backup", tmp_path / "backups", environment=environment, folder=scripts))
    applied = backup / "migrations"
    newer = ("readings.0011", "readings.0012", "readings.0013", "readings.0014", "devices.0015")
    lines = applied.read_text().splitlines()
    applied.write_text("".join(f"{line}\n" for line in lines if not any(name in line for name in newer)))

    run("undo", backup, environment=environment, folder=scripts)

    calls = Path(environment["CALLS"]).read_text().splitlines()
    assert calls[1] == "manage.py unseal"
    assert {call.rpartition(" ")[2] for call in calls[2:4]} == {"0010_metrics", "0014_token_registrations"}


@pytest.mark.once
def test_an_upgrade_to_a_version_there_is_not_changes_nothing(machine, tmp_path):
    installed, _, environment = machine
    first = git(installed, "rev-parse", "HEAD")
    run(
        "upgrade",
        tmp_path / "backups",
        "v99",
        environment=environment,
        folder=installed / "docs/deployment",
        succeeds=False,
    )
    assert git(installed, "rev-parse", "HEAD") == first
    assert not Path(environment["CALLS"]).exists()
