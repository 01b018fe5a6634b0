from pathlib import Path
from urllib.parse import quote

import hypothesis.strategies as st
import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import example, given

from telemetry.configuration.environment import database, unencoded

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


TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="%"), min_size=1)


@given(TEXT)
@example("p/ss#w?rd[1]@x:y")
@example("5432/a")
@example("5432?a")
def test_a_password_that_is_not_encoded_is_named_or_read_as_it_is(password):
    url = f"postgresql://fleet:{password}@db.example.org:5433/log?sslmode=require"

    assert set(unencoded(url)) == set(password) & set("/?#[]")
    entry = database(url, base=BASE)
    found = [entry[name] for name in ("USER", "PASSWORD", "HOST", "PORT", "NAME")]
    assert found == ["fleet", password, "db.example.org", 5433, "log"]


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_an_encoded_password_is_read_exactly(password):
    url = f"postgresql://fleet:{quote(password, safe='')}@db.example.org/log"

    assert unencoded(url) == ""
    assert database(url, base=BASE)["PASSWORD"] == password


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://localhost/log",
        "postgresql://localhost/log@home",
        "postgresql://fleet:x@localhost/log?application_name=a",
        "postgresql://localhost/log?application_name=a@b",
        "postgresql://fleet:x@[::1]:5432/log",
        "sqlite:///a@b/c#1.sqlite3",
        "",
    ],
)
def test_an_address_with_nothing_to_encode_is_left_alone(url):
    assert unencoded(url) == ""
