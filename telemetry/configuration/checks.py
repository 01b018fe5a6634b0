"""System checks: an unsafe or contradictory configuration stops the start, and a hint says how to correct it."""

import os
import stat
from collections.abc import Iterable, Iterator
from email.utils import parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from devices.access.throttling import InvalidRate, parse_rate
from devices.models import RETENTION_DAYS_MAX
from readings.doors.mqtt.subscriber.addresses import InvalidAddress, broker_address
from readings.doors.mqtt.subscriber.patterns import InvalidPattern, patterns_of
from readings.doors.switches import CHOICES, NONE
from telemetry.configuration.private_files import excess, files_of
from telemetry.gateway.proxies import UNIX, parse_network
from telemetry.gateway.request_slots import QUESTIONS_PER_PROCESS
from telemetry.monitoring.logging import FORMATS, LEVELS

ENVIRONMENTS = ("development", "production")
SECRET_KEY_CHARACTERS = 32
API_KEY_CHARACTERS = 16
# By which a command that needs no other checks names these.
TAG = "configuration"


@register(TAG)
def check_configuration(app_configs: Any, **_: Any) -> Iterable[CheckMessage]:
    return [*secrets(), *choices(), *addresses(), *database_url(), *production(), *open_files()]


def secret(name: str) -> str:
    """The value of a secret setting, "" if it is empty: Django raises an error when an empty SECRET_KEY is read."""
    try:
        return str(getattr(settings, name))
    except ImproperlyConfigured:
        return ""


def secrets() -> Iterator[CheckMessage]:
    set_up = "Run `python manage.py prepare` once, which writes it to .env, or set it yourself."
    if len(secret("SECRET_KEY")) < SECRET_KEY_CHARACTERS:
        yield Error(
            f"SECRET_KEY is missing or shorter than {SECRET_KEY_CHARACTERS} characters.", set_up, id="telemetry.E001"
        )
    if len(settings.API_SECRET_KEY) < API_KEY_CHARACTERS:
        yield Error(
            f"API_SECRET_KEY is missing or shorter than {API_KEY_CHARACTERS} characters.", set_up, id="telemetry.E002"
        )
    if any(len(key) < API_KEY_CHARACTERS for key in settings.DEVICE_API_KEYS):
        hint = "Use long random keys, separated by single commas."
        yield Error(
            f"DEVICE_API_KEYS has a key shorter than {API_KEY_CHARACTERS} characters.", hint, id="telemetry.E003"
        )
    if settings.API_SECRET_KEY in settings.DEVICE_API_KEYS:
        hint = "A gateway must not have the administrator's key: give it a key of its own."
        yield Error("API_SECRET_KEY is also listed in DEVICE_API_KEYS.", hint, id="telemetry.E004")


def choices() -> Iterator[CheckMessage]:
    for name, allowed, identifier in (
        ("APP_ENV", ENVIRONMENTS, "telemetry.E005"),
        ("LOG_LEVEL", LEVELS, "telemetry.E006"),
        ("LOG_FORMAT", FORMATS, "telemetry.E007"),
    ):
        if getattr(settings, name) not in allowed:
            yield Error(
                f"{name} is {getattr(settings, name)!r}, which is not allowed.",
                f"Use one of: {', '.join(allowed)}.",
                id=identifier,
            )
    for name, low, high, identifier in (
        ("PORT", 1, 65_535, "telemetry.E008"),
        ("MQTT_PORT", 0, 65_535, "telemetry.E050"),
        ("MQTT_TLS_PORT", 0, 65_535, "telemetry.E051"),
        ("MQTT_METRICS_PORT", 0, 65_535, "telemetry.E056"),
        ("MAX_BODY_BYTES", 1024, 1 << 30, "telemetry.E009"),
        ("CONNECTIONS_PER_ADDRESS", 0, 1_000_000, "telemetry.E029"),
        ("DEFAULT_REPORT_INTERVAL", 1, 31 * 86_400, "telemetry.E010"),
        ("RETENTION_DAYS", 0, RETENTION_DAYS_MAX, "telemetry.E017"),
        ("RETENTION_GB", 0, 1_000_000, "telemetry.E057"),
        ("SEAL_AFTER_DAYS", 0, 3650, "telemetry.E058"),
        ("HSTS_SECONDS", 0, 10 * 366 * 86_400, "telemetry.E019"),
        ("QUESTIONS_PER_CALLER", 1, QUESTIONS_PER_PROCESS, "telemetry.E027"),
        ("METRIC_NAMES_PER_DEVICE", 1, 10_000, "telemetry.E020"),
    ):
        if not low <= getattr(settings, name) <= high:
            yield Error(
                f"{name} is {getattr(settings, name)}, which is out of range.",
                f"Use a number from {low} to {high}.",
                id=identifier,
            )
    if settings.RETENTION_GB and not settings.SEAL_AFTER_DAYS:
        hint = "Set SEAL_AFTER_DAYS above 0 (default 2), because RETENTION_GB deletes only sealed readings."
        yield Error("RETENTION_GB is set, but SEAL_AFTER_DAYS is 0.", hint, id="telemetry.E059")
    ports = (settings.PORT, settings.MQTT_PORT, settings.MQTT_TLS_PORT, settings.MQTT_METRICS_PORT)
    taken = [port for port in ports if port]
    if len(set(taken)) < len(taken):
        hint = "Choose different ports; MQTT_PORT=0 switches MQTT off."
        yield Error("Two of PORT, MQTT_PORT, MQTT_TLS_PORT, MQTT_METRICS_PORT are the same.", hint, id="telemetry.E052")
    if settings.MQTT_TLS_PORT > 0 and not settings.MQTT_TLS_CERT:
        hint = "Set MQTT_TLS_CERT to a certificate in PEM format, and MQTT_TLS_KEY to its key."
        yield Error("MQTT_TLS_PORT is set without MQTT_TLS_CERT.", hint, id="telemetry.E053")
    yield from broker()
    if unknown := [name for name in settings.DOORS if name not in CHOICES]:
        hint = f"Use names from: {', '.join(CHOICES)}."
        yield Error(f"DOORS lists {', '.join(map(repr, unknown))}, which is no door.", hint, id="telemetry.E040")
    if NONE in settings.DOORS and len(settings.DOORS) > 1:
        hint = f"Write only {NONE} to close all doors, or only the names of those that are open."
        yield Error(f"DOORS lists {NONE} and other names.", hint, id="telemetry.E041")
    try:
        parse_rate(settings.DEVICE_RATE_LIMIT)
    except InvalidRate as error:
        yield Error(f"DEVICE_RATE_LIMIT: {error}", "Leave it empty for no limit.", id="telemetry.E016")


def broker() -> Iterator[CheckMessage]:
    if not settings.MQTT_BROKER_URL:
        return
    try:
        broker_address(settings.MQTT_BROKER_URL)
    except InvalidAddress as error:  # without the address: it contains a password
        hint = "Write it as mqtt://user:password@host:1883 or mqtts://host; leave it empty for no broker."
        yield Error(f"MQTT_BROKER_URL is not valid. {error}", hint, id="telemetry.E054")
    try:
        patterns_of(settings.MQTT_BROKER_TOPICS)
    except InvalidPattern as error:
        hint = "Separate topics with commas: zigbee2mqtt/{device},sensors/{device}/{metric}"
        yield Error(f"MQTT_BROKER_TOPICS: {error}", hint, id="telemetry.E055")


def addresses() -> Iterator[CheckMessage]:
    for host in settings.LISTED_HOSTS:
        if "/" in host or (":" in host and not host.startswith("[")):
            hint = "Write only the name, without http:// and without the port: telemetry.example.org"
            yield Error(f"ALLOWED_HOSTS lists {host!r}, which is not a host name.", hint, id="telemetry.E015")
    for origin in settings.ALLOWED_ORIGINS:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or "*" in origin:
            hint = "Write scheme, host and any unusual port, as browsers send it: https://app.example.org"
            yield Error(f"ALLOWED_ORIGINS lists {origin!r}, which is not an origin.", hint, id="telemetry.E011")
    parts = urlsplit(settings.PUBLIC_URL)
    if settings.PUBLIC_URL and (parts.scheme not in ("http", "https") or not parts.netloc or parts.query):
        hint = "Write the address at which people open the pages: https://telemetry.example.org"
        yield Error(f"PUBLIC_URL is {settings.PUBLIC_URL!r}, which is no such address.", hint, id="telemetry.E031")
    if "@" not in parseaddr(settings.EMAIL_FROM)[1]:
        hint = "Write an address, or a name and an address: Telemetry <telemetry@example.org>"
        yield Error(f"EMAIL_FROM is {settings.EMAIL_FROM!r}, which is no e-mail address.", hint, id="telemetry.E032")
    for entry in settings.TRUSTED_PROXIES:
        if not is_proxy(entry):
            hint = (
                f"Write addresses or networks such as 127.0.0.1 or 10.0.0.0/8, or {UNIX} for clients on a Unix socket."
            )
            yield Error(f"TRUSTED_PROXIES lists {entry!r}, which is not an address.", hint, id="telemetry.E018")
    if any(urlsplit(url).scheme not in ("redis", "rediss", "unix") for url in settings.REDIS_URLS):
        hint = (
            "Write redis://host:6379/0, several separated by commas, or leave it empty for one process with an "
            "in-memory channel layer."
        )
        yield Error("REDIS_URL has an entry that is not a Redis address.", hint, id="telemetry.E012")


def database_url() -> Iterator[CheckMessage]:
    if settings.DISTRIBUTED and connection.vendor != "postgresql":
        hint = "Set DATABASE_URL to the coordinator of a PostgreSQL with Citus, or DISTRIBUTED=false."
        yield Error("DISTRIBUTED is true, but SQLite cannot be distributed.", hint, id="telemetry.E060")
    if found := " ".join(settings.DATABASE_URL_UNENCODED):
        hint = (
            "Write each as % and its code (/ %2F, ? %3F, # %23, [ %5B, ] %5D, @ %40, : %3A, % %25). This encodes a "
            "password: python3 -c 'import getpass, urllib.parse as u; print(u.quote(getpass.getpass(), safe=\"\"))'"
        )
        yield Error(
            f"The user or password in DATABASE_URL has characters that must be percent-encoded: {found}",
            hint,
            id="telemetry.E030",
        )


def is_proxy(entry: str) -> bool:
    try:
        return entry == UNIX or parse_network(entry).prefixlen > 0  # not the network of all addresses
    except ValueError:
        return False


def open_files() -> Iterator[CheckMessage]:
    """Warns of files that others can read and whose mode this process cannot change, because it does not own them."""
    kept = [settings.ENV_FILE]
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        kept += files_of(Path(database["NAME"]))
    for path in kept:
        if excess(path) & stat.S_IRWXO and path.stat().st_uid != os.geteuid():
            hint = f"It contains secrets or data. Run as its owner: chmod 600 {path}"
            yield Warning(f"Any user of this machine can read {path}.", hint, id="telemetry.W001")


def production() -> Iterator[CheckMessage]:
    if not settings.IN_PRODUCTION:
        return
    if settings.DEBUG:
        hint = "Set DEBUG=false, because error pages would show settings and source code to anyone."
        yield Error("DEBUG is on while APP_ENV is production.", hint, id="telemetry.E013")
    if not settings.LISTED_HOSTS or "*" in settings.LISTED_HOSTS:
        hint = "List the host names under which clients reach this server."
        yield Error("ALLOWED_HOSTS is empty or allows any host while APP_ENV is production.", hint, id="telemetry.E014")
