from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from telemetry.configuration.environment import database

pytestmark = pytest.mark.once

BASE = Path("/srv/telemetry")
POSTGRESQL = "telemetry.databases.postgresql"
SQLITE = "telemetry.databases.sqlite"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg"])
def test_postgresql_by_any_of_its_names(scheme):
    entry = database(f"{scheme}://user:p%40ss@db.example.org:5433/fleet?sslmode=require", base=BASE)

    expected = {"HOST": "db.example.org", "PORT": 5433, "NAME": "fleet", "USER": "user", "PASSWORD": "p@ss"}
    assert entry["ENGINE"] == POSTGRESQL
    assert {name: entry[name] for name in expected} == expected
    assert entry["OPTIONS"]["sslmode"] == "require"


def test_postgresql_is_pooled_and_gives_up_soon():
    entry = database("postgresql://localhost/fleet", base=BASE)

    assert entry["CONN_MAX_AGE"] == 0
    assert entry["OPTIONS"]["pool"] is True
    assert entry["OPTIONS"]["connect_timeout"] <= 5
    assert entry["OPTIONS"]["tcp_user_timeout"] <= 10_000
    assert entry["OPTIONS"]["keepalives_idle"] <= 10


def test_a_connect_timeout_of_one_s_own_is_kept():
    entry = database("postgresql://localhost/fleet?connect_timeout=9", base=BASE)

    assert int(entry["OPTIONS"]["connect_timeout"]) == 9


@pytest.mark.parametrize("scheme", ["sqlite", "sqlite+aiosqlite"])
@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("/telemetry.sqlite3", "/srv/telemetry/telemetry.sqlite3"),
        ("/./telemetry.db", "/srv/telemetry/telemetry.db"),
        ("//var/lib/telemetry.sqlite3", "/var/lib/telemetry.sqlite3"),
    ],
)
def test_an_sqlite_file_relative_to_the_project_or_absolute(scheme, path, file):
    entry = database(f"{scheme}://{path}", base=BASE)

    assert entry["ENGINE"] == SQLITE
    assert Path(entry["NAME"]) == Path(file)


def test_sqlite_loses_no_commit():
    options = database("sqlite:///telemetry.sqlite3", base=BASE)["OPTIONS"]

    assert options["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode=WAL" in options["init_command"]
    assert "synchronous=FULL" in options["init_command"]


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite+aiosqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url):
    with pytest.raises(ImproperlyConfigured, match="in memory"):
        database(url, base=BASE)


@pytest.mark.parametrize(
    "url", ["mysql://localhost/fleet", "postgresql+pg8000://localhost/fleet", "postgresql:fleet", "fleet", "://", ""]
)
def test_any_other_database_is_refused_with_what_to_write(url):
    with pytest.raises(ImproperlyConfigured, match=r"DATABASE_URL .*use postgresql://.* or sqlite:///"):
        database(url, base=BASE)


@pytest.mark.parametrize("url", ["postgresql://localhost:many/fleet", "postgresql://[::1/fleet"])
def test_an_address_that_cannot_be_read_is_refused_by_its_name(url):
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL"):
        database(url, base=BASE)


@pytest.mark.parametrize("url", ["mysql://user:hunter2@localhost/fleet", "postgresql://user:hunter2@localhost:x/fleet"])
def test_a_refusal_shows_no_password(url):
    with pytest.raises(ImproperlyConfigured) as refusal:
        database(url, base=BASE)

    assert "hunter2" not in str(refusal.value)
