"""Reads settings from the environment and `.env`."""

import os
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from devices.database.work_kinds import CONNECT_SECONDS
from realtime.network import network_address
from telemetry.configuration.private_files import PrivateConnection

# Spellings of other tools, such as SQLAlchemy, for the same databases.
SCHEME_ALIASES = {"postgresql+asyncpg": "postgresql", "postgresql+psycopg": "postgresql", "sqlite+aiosqlite": "sqlite"}

# Characters that end the part of a URL in which user and password are (RFC 3986, section 3.2), or make it unreadable.
DELIMITERS = "/?#[]"

# Milliseconds that sent bytes may stay unacknowledged before the connection counts as lost.
TCP_TIMEOUT_MILLISECONDS = 10_000


class Environment(environ.Env):  # type: ignore[misc]  # django-environ has no types
    """Values of the environment, then those of the file. An empty value counts as absent in both."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        # `read_env` writes into this class attribute, which by default is `os.environ` itself.
        Environment.ENVIRON = present(os.environ)
        if file.exists():
            self.read_env(file)
        Environment.ENVIRON = present(Environment.ENVIRON)

    def number(self, name: str, *, default: int) -> int:
        """The integer of that name, or `default`. Raises ImproperlyConfigured, which says the name."""
        try:
            return int(self.int(name, default=default))
        except ValueError as error:
            raise ImproperlyConfigured(f"{name} is {self.str(name)!r}, which is not a whole number.") from error

    def fraction(self, name: str, *, default: float) -> float:
        """The number of that name, or `default`. Raises ImproperlyConfigured, which says the name."""
        try:
            return float(self.str(name, default=str(default)))
        except ValueError as error:
            raise ImproperlyConfigured(f"{name} is {self.str(name)!r}, which is not a number.") from error


def present(values: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value.strip()}


def local_names(host: str) -> list[str]:
    """The host names and addresses by which clients may reach a server that listens on `host`; its own address last."""
    names = ["localhost", "127.0.0.1", "[::1]"]
    if host in ("0.0.0.0", "::"):  # noqa: S104
        names += [socket.gethostname(), f"{socket.gethostname()}.local"]
        if address := network_address():
            names.append(address)
    elif host not in names:
        names.append(host)
    return list(dict.fromkeys(names))


def unencoded(url: str) -> str:
    """The characters of user and password in a PostgreSQL `DATABASE_URL` that must be percent-encoded, each once."""
    scheme, _, rest = url.partition("://")
    before, at, after = rest.rpartition("@")
    # An @ in a query or in a database name has no further path behind it.
    if not at or scheme.startswith("sqlite") or ("/" not in after and "@" not in before.partition("/")[0]):
        return ""
    return "".join(character for character in DELIMITERS if character in before)


def encoded(rest: str) -> str:
    """What follows `://`, with user and password percent-encoded."""
    credentials, _, place = rest.rpartition("@")
    return ":".join(quote(unquote(part), safe="") for part in credentials.split(":", 1)) + "@" + place


def in_container() -> bool:
    """Whether this process runs in a container of Docker or Podman, whose addresses and paths are not those outside."""
    return any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv"))


def database(url: str, *, base: Path) -> dict[str, Any]:
    """The `DATABASES` entry of a `DATABASE_URL`; relative SQLite paths start at `base`.

    Characters of a password that must be percent-encoded are read as they are meant; a system check names them
    (`unencoded`), because other programs read them differently. Raises ImproperlyConfigured for anything but PostgreSQL
    and SQLite.
    """
    scheme, separator, rest = url.partition("://")
    scheme = SCHEME_ALIASES.get(scheme, scheme)
    if not separator or scheme not in ("postgres", "postgresql", "sqlite"):
        raise ImproperlyConfigured(
            f"DATABASE_URL names an unsupported database ({scheme or 'empty'}://…): "
            "use postgresql://user:password@host:5432/name or sqlite:///telemetry.sqlite3"
        )
    if unencoded(url):
        rest = encoded(rest)
        url = f"{scheme}://{rest}"
    try:
        entry: dict[str, Any] = dict(environ.Env.db_url_config(f"{scheme}://{rest}"))
        _ = urlsplit(url).port
    except ValueError as error:
        raise ImproperlyConfigured(f"DATABASE_URL cannot be read: {error}") from error
    return _sqlite(entry, base) if scheme == "sqlite" else _postgresql(entry)


def _postgresql(entry: dict[str, Any]) -> dict[str, Any]:
    options = entry.get("OPTIONS", {})
    options.setdefault("connect_timeout", CONNECT_SECONDS)
    # The kernel notices within half a minute that the server is gone, even if no statement runs.
    for name, value in (("keepalives_idle", 10), ("keepalives_interval", 5), ("keepalives_count", 3)):
        options.setdefault(name, value)
    options.setdefault("tcp_user_timeout", TCP_TIMEOUT_MILLISECONDS)
    # PostgreSQL overestimates how much our statements read: compiling one (JIT) took 30 ms instead of 4 ms, starting
    # parallel workers for one 10 ms instead of 1 ms.
    options.setdefault("options", "-c jit=off -c max_parallel_workers_per_gather=0")
    options["pool"] = True
    # 0, because under ASGI a connection must not outlive its request's thread. The pool keeps it open.
    return entry | {"ENGINE": "telemetry.databases.postgresql", "OPTIONS": options, "CONN_MAX_AGE": 0}


def _sqlite(entry: dict[str, Any], base: Path) -> dict[str, Any]:
    if not entry["NAME"] or entry["NAME"] == ":memory:":
        raise ImproperlyConfigured(
            "DATABASE_URL names an SQLite database in memory, which each thread would see empty: "
            "give it a file, sqlite:///telemetry.sqlite3"
        )
    name = base / entry["NAME"]
    return entry | {
        "ENGINE": "telemetry.databases.sqlite",
        "NAME": name,
        "CONN_MAX_AGE": 0,
        "OPTIONS": {
            # Take the write lock at BEGIN, because a transaction that upgrades from reading can fail.
            "transaction_mode": "IMMEDIATE",
            "factory": PrivateConnection,
            # FULL, because NORMAL can lose the last commits in a power failure, and a 2xx means committed.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        },
        # A file, as in production, so that all threads see one database and locks are real.
        "TEST": {"NAME": f"{tempfile.gettempdir()}/telemetry-test-{os.getpid()}.sqlite3"},
    }


def mail(url: str) -> dict[str, Any]:
    """Django's settings of an `EMAIL_URL`, such as `smtp+tls://user:password@mail.example.org:587`; empty: no mail.

    Raises ImproperlyConfigured, whose message does not contain the URL, because that has a password.
    """
    settings: dict[str, Any] = {
        "EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend",
        "EMAIL_HOST": "",
        "EMAIL_PORT": 25,
        "EMAIL_HOST_USER": "",
        "EMAIL_HOST_PASSWORD": "",
        "EMAIL_USE_TLS": False,
        "EMAIL_USE_SSL": False,
        "EMAIL_FILE_PATH": "",
    }
    if not url:
        return settings
    forms = "smtp://, smtp+tls:// (STARTTLS), smtp+ssl:// or consolemail://"
    try:
        found = Environment.email_url_config(url)
        if found["EMAIL_BACKEND"].endswith("smtp.EmailBackend") and not found["EMAIL_HOST"]:
            raise ValueError
    except (ImproperlyConfigured, ValueError, KeyError, AttributeError) as error:
        raise ImproperlyConfigured(
            f"EMAIL_URL cannot be read. It begins with {forms}, then the mail server."
        ) from error
    found = {name: value for name, value in found.items() if name in settings and value is not None}
    default_port = 465 if found.get("EMAIL_USE_SSL") else 587 if found.get("EMAIL_USE_TLS") else 25
    return settings | {"EMAIL_PORT": default_port} | found
