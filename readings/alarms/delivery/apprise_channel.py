"""Messages by Apprise, which knows ntfy, Telegram, Slack, Matrix and a hundred others. `apprise_process` sends them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from django.conf import settings

from readings.alarms.delivery.answers import TRY_SECONDS, Answer, plain

PROGRAM = Path(__file__).with_name("apprise_process.py")
# Handed on to the process. No secrets, and no proxies, because the address that is connected to is checked.
ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
OUTPUT_BYTES = 10_000


class AppriseFailed(Exception):
    """The process did not end in time or without an answer; the message says which."""


def send(url: str, *, title: str, body: str, kind: str) -> Answer:
    """Sends a message. `kind`: Apprise's `info`, `success`, `warning` or `failure`. Takes at most TRY_SECONDS."""
    try:
        result = run(url=url, title=title, body=body, type=kind)
    except AppriseFailed as error:
        return Answer(False, str(error), away=True)
    if not result["known"]:
        return Answer(False, result["error"] or "Apprise cannot read the URL of this channel.")
    if result["sent"]:
        return Answer(True, f"{plain(result['service'], 100) or 'The service'} accepted the message.")
    return Answer(False, plain(result["error"], 200), away=result["away"])


def service_of(url: str) -> str | None:
    """The name of the service that this URL is for, such as "Telegram"; None if Apprise cannot read it.

    Raises AppriseFailed.
    """
    result = run(url=url, title=None, body=None, type=None)
    return plain(result["service"], 100) if result["known"] else None


def run(**task: Any) -> dict[str, Any]:
    given = json.dumps(task | {"private": settings.ALLOW_PRIVATE_TARGETS})
    environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    try:
        done = subprocess.run(  # noqa: S603  our own program; the URL comes by its input
            [sys.executable, "-I", str(PROGRAM)],
            input=given.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=TRY_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise AppriseFailed(f"No answer within {TRY_SECONDS:.0f} s.") from error
    except OSError as error:
        raise AppriseFailed(f"The program that sends with Apprise cannot be started: {error.strerror}.") from error
    try:
        result: dict[str, Any] = json.loads(done.stdout[:OUTPUT_BYTES])
    except ValueError as error:
        raise AppriseFailed(f"The program that sends with Apprise failed (status {done.returncode}).") from error
    return result
