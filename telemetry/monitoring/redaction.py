"""No key in what leaves the process as text: log lines, and the error pages that DEBUG shows.

Nothing here logs keys knowingly. But a library may log what came over the wire, a page of Django's shows a request
whole, and servers log addresses with the ticket in them; so every line and every such page goes through `redacted`.
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
# PostgreSQL's second lines, which quote rows: "Failing row contains (…)", "COPY readings_reading, line 1: …".
QUOTED_ROWS = re.compile(r"((?:DETAIL|CONTEXT):\s+)(?:(?!\\n)[^\r\n])+")
# What is shorter is no secret of ours, and would be hidden out of every other word.
SECRET_CHARACTERS = 16
SECRETS = ("SECRET_KEY", "API_SECRET_KEY", "DEVICE_API_KEYS")

# Each keeps its first group. Whose keys we cannot know (a wrong one, a session's) are known by the name before them.
FORMS = (
    # A device's key; the hint that operators know one by is 4 characters of it.
    r"(tlm_[\w-]{4})[\w-]{8,}",
    # A ticket, a key or a password as a parameter: of an address, of a form.
    r"((?:ticket|key|api_key|apikey|token|password)=)[^&\s\"'<>]+",
    # A cookie.
    r"((?:sessionid|csrftoken)=)[^;\s\"'<>]+",
    # A header: `x-api-key: …`, `"authorization": "…"`, `(b'cookie', b'…')`.
    r"((?:x-api-key|authorization|cookie)[\"']?\s*[:,]\s*b?[\"']?)[^\s\"'<>)][^\r\n\"'<>)]*",
)
FORM = re.compile("|".join(FORMS), re.IGNORECASE)


def redacted(text: str, *, brought: tuple[str, ...] = ()) -> str:
    """The text with everything hidden that is, or looks like, a key, a ticket, a session or a password.

    `brought`: what a request brought that is to be hidden whatever it looks like.
    """
    if secrets := configured():
        text = literally(secrets).sub(HIDDEN, text)
    if brought:
        text = literally(brought).sub(HIDDEN, text)
    return FORM.sub(lambda match: f"{match[match.lastindex or 0]}{HIDDEN}", text)


def credentials_in(request: HttpRequest) -> tuple[str, ...]:
    """Everything in a request by which somebody could be known: keys, parameters, cookies."""
    given = [request.headers.get(name, "") for name in ("X-API-Key", "Authorization")]
    given += [value for _, values in request.GET.lists() for value in values]
    given += request.COOKIES.values()
    return tuple(value for value in given if len(value) >= SECRET_CHARACTERS)


def configured() -> tuple[str, ...]:
    """The secrets of the settings; none while the settings themselves are being read."""
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
    """Matches the secrets as they are, and as JSON, a page or an address spells them."""
    spellings = {
        spelling
        for secret in secrets
        for spelling in (secret, json.dumps(secret)[1:-1], html.escape(secret), quote(secret, safe=""))
    }
    return re.compile("|".join(re.escape(spelling) for spelling in sorted(spellings, key=len, reverse=True)))


def redact_access_log(entry_writer: type[Any]) -> None:
    """daphne, started by hand, writes its log of requests past all logging: by `daphne.access.AccessLogGenerator`."""
    write_entry = entry_writer.write_entry

    def write_redacted(self: Any, *, request: str, **entry: Any) -> None:
        write_entry(self, request=redacted(request), **entry)

    entry_writer.write_entry = write_redacted


def redact_line(_logger: Any, _method: str, line: str) -> str:
    """The last of structlog's processors."""
    return QUOTED_ROWS.sub(rf"\g<1>{HIDDEN}", redacted(line))
