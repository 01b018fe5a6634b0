"""Hides keys in text that leaves the process: log lines, and error pages when DEBUG is on.

Our code does not log keys. But a library may log received data, Django's error pages show whole requests, and servers
log addresses with tickets. So every log line and every such page passes through `redacted`.
"""

import html
import json
import re
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest

HIDDEN = "[hidden]"
# Further lines of PostgreSQL errors, which quote rows: "Failing row contains (…)", "COPY readings_reading, line 1: …".
QUOTED_ROWS = re.compile(r"((?:DETAIL|CONTEXT):\s+)(?:(?!\\n)[^\r\n])+")
# Shorter values are not secrets of ours, and hiding them would hide parts of ordinary words.
SECRET_CHARACTERS = 16
SECRETS = ("SECRET_KEY", "API_SECRET_KEY", "DEVICE_API_KEYS")

# Each pattern keeps its first group. Unknown keys (wrong ones, sessions) are found by the name before them.
FORMS = (
    # The token of a link to a view, which the list of links recognises by its first 4 characters.
    r"(/share/[\w-]{4})[\w-]{8,}",
    # A device's key, or an API token; operators recognise it by a hint of 4 characters, which stay visible.
    r"(tl[mt]_[\w-]{4})[\w-]{8,}",
    # A link to set a password.
    r"(/set-password/[\w-]+/)[\w-]{8,}",
    # A key in an address: ThingsBoard's, also while that door is closed.
    r"(/api/v1/)[^/\s\"'<>?]{16,}(?=/(?:telemetry|attributes|rpc|claim|firmware|software))",
    # InfluxDB's user and password as parameters of a URL.
    r"([?&][up]=)[^&\s\"'<>]+",
    # A ticket, key or password as a parameter of a URL or form.
    r"((?:ticket|key|api_key|apikey|token|password)=)[^&\s\"'<>]+",
    # A cookie.
    r"((?:sessionid|csrftoken)=)[^;\s\"'<>]+",
    # A header: `x-api-key: …`, `"authorization": "…"`, `(b'cookie', b'…')`.
    r"((?:x-api-key|authorization|cookie)[\"']?\s*[:,]\s*b?[\"']?)[^\s\"'<>)][^\r\n\"'<>)]*",
)
FORM = re.compile("|".join(FORMS), re.IGNORECASE)


def redacted(text: str, *, brought: tuple[str, ...] = ()) -> str:
    """The text with everything hidden that is, or looks like, a key, ticket, session or password.

    `brought` are values from the request, which are hidden in any case.
    """
    if secrets := configured():
        text = literally(secrets).sub(HIDDEN, text)
    if brought:
        text = literally(brought).sub(HIDDEN, text)
    return FORM.sub(lambda match: f"{match[match.lastindex or 0]}{HIDDEN}", text)


def credentials_in(request: HttpRequest) -> tuple[str, ...]:
    """All values of a request that may be credentials (keys, parameters, cookies) of SECRET_CHARACTERS or more."""
    given = [request.headers.get(name, "") for name in ("X-API-Key", "Authorization")]
    given += [value for _, values in request.GET.lists() for value in values]
    given += request.COOKIES.values()
    return tuple(value for value in given if len(value) >= SECRET_CHARACTERS)


def configured() -> tuple[str, ...]:
    """The secrets in the settings; () while the settings are being loaded."""
    if not settings.configured:
        return ()
    found: list[str] = []
    for name in SECRETS:
        try:
            value = getattr(settings, name)
        except ImproperlyConfigured:  # an empty SECRET_KEY
            continue
        found += [value] if isinstance(value, str) else value
    return tuple(secret for secret in found if secret)


@lru_cache(8)
def literally(secrets: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern that matches the secrets as they are, and as escaped in JSON, HTML and URLs."""
    spellings = {
        spelling
        for secret in secrets
        for spelling in (secret, json.dumps(secret)[1:-1], html.escape(secret), quote(secret, safe=""))
    }
    return re.compile("|".join(re.escape(spelling) for spelling in sorted(spellings, key=len, reverse=True)))


def redact_access_log(entry_writer: type[Any]) -> None:
    """Hides keys in daphne's access log, which does not use `logging`; `entry_writer` is its AccessLogGenerator."""
    write_entry = entry_writer.write_entry

    def write_redacted(self: Any, *, request: str, **entry: Any) -> None:
        write_entry(self, request=redacted(request), **entry)

    entry_writer.write_entry = write_redacted


def redact_line(_logger: Any, _method: str, line: str) -> str:
    """The last of structlog's processors: hides keys and quoted rows in a finished line."""
    return QUOTED_ROWS.sub(rf"\g<1>{HIDDEN}", redacted(line))
