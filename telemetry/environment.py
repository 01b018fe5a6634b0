"""How the names of `.env` become settings values."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

# Other tools' spellings of the same address, as SQLAlchemy users have them in their `.env` already.
SCHEME_ALIASES = {"postgresql+asyncpg": "postgresql", "postgresql+psycopg": "postgresql", "sqlite+aiosqlite": "sqlite"}

# How long a request waits for a pooled connection, and a new connection for the server, in seconds.
DATABASE_WAIT_SECONDS = 4


def database(url: str, *, base: Path) -> dict[str, Any]:
    """The `DATABASES` entry of a `DATABASE_URL`; relative SQLite paths start at `base`.

    Raises ImproperlyConfigured for anything but PostgreSQL and SQLite.
    """
    scheme, separator, rest = url.partition("://")
    scheme = SCHEME_ALIASES.get(scheme, scheme)
    if not separator or scheme not in ("postgres", "postgresql", "sqlite"):
        raise ImproperlyConfigured(
            f"DATABASE_URL names an unsupported database ({scheme or 'empty'}://…): "
            "use postgresql://user:password@host:5432/name or sqlite:///telemetry.sqlite3"
        )
    try:
        entry: dict[str, Any] = dict(environ.Env.db_url_config(f"{scheme}://{rest}"))
        _ = urlsplit(url).port
    except ValueError as error:
        raise ImproperlyConfigured(f"DATABASE_URL cannot be read: {error}") from error
    return _sqlite(entry, base) if scheme == "sqlite" else _postgresql(entry)


def _postgresql(entry: dict[str, Any]) -> dict[str, Any]:
    options = entry.get("OPTIONS", {})
    options.setdefault("connect_timeout", DATABASE_WAIT_SECONDS)
    options["pool"] = {"min_size": 0, "max_size": 20, "timeout": DATABASE_WAIT_SECONDS}
    # Under ASGI a connection must not outlive its request's thread; the pool keeps it open instead.
    return entry | {"OPTIONS": options, "CONN_MAX_AGE": 0}


def _sqlite(entry: dict[str, Any], base: Path) -> dict[str, Any]:
    if not entry["NAME"] or entry["NAME"] == ":memory:":
        raise ImproperlyConfigured(
            "DATABASE_URL names an SQLite database in memory, which every thread would see empty: "
            "give it a file, sqlite:///telemetry.sqlite3"
        )
    name = base / entry["NAME"]
    return entry | {
        "NAME": name,
        "CONN_MAX_AGE": 0,
        "OPTIONS": {
            # Take the write lock at BEGIN, so that a reader never has to upgrade and fail.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            # NORMAL can lose the last commits at a power cut; a 2xx means committed.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        },
        # A file, as in production: threads see one database, and locks are real.
        "TEST": {"NAME": str(base / ".cache" / "test.sqlite3")},
    }
