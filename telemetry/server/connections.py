"""Limits of one connection, the same on daphne (`daphne_http`) and on uvicorn (`uvicorn_http`).

How long a client may take to send a request and to read the answer, how large a request's head may be, how many
connections one address may have, and how many files are kept free for the process itself.

uvicorn may import this before Django is set up, so settings are read, and `telemetry.middleware.problems` is imported,
on use.
"""

import asyncio
import logging
import time
from collections import Counter
from enum import Enum
from functools import lru_cache
from ipaddress import IPv6Address, ip_network
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import msgspec
from django.conf import settings

from devices.plurals import counted
from telemetry.gateway.proxies import UNIX, parse_address, parse_network
from telemetry.monitoring.instruments import CONNECTIONS_DROPPED, CONNECTIONS_REFUSED
from telemetry.monitoring.logging import Periodically
from telemetry.server.files import files_are_scarce
from telemetry.server.pacing import bytes_acknowledged

logger = logging.getLogger(__name__)

# Time for the head of a request: from accept() for a connection's first request, then from the request's first byte.
HEAD_SECONDS = 10.0
# After this time a body must have arrived at BODY_BYTES_PER_SECOND or more, on average since the end of the head.
BODY_GRACE_SECONDS = 10.0
BODY_BYTES_PER_SECOND = 1024
# An open connection without a request is closed after this time. (uvicorn has --timeout-keep-alive for this, 5 s.)
IDLE_SECONDS = 60.0
# A client that acknowledges no byte of an answer for this time is disconnected.
UNREAD_SECONDS = 30.0

# Twisted's (and so daphne's) defaults: number of headers; bytes of the request line and all headers.
HEADERS_MAX = 500
HEAD_BYTES_MAX = 16 * 1024

# Seconds between two checks of each connection.
CHECK_SECONDS = 1.0
# Seconds that a refused connection stays open after its answer. If it were closed at once, with an unread request, it
# would be reset, and the client might not see the answer.
REFUSED_SECONDS = 0.1
# The same refusal is logged once in this many seconds.
LOG_SECONDS = 60.0
RETRY_AFTER_SECONDS = 5
# An IPv6 host usually has a whole network of this size to itself, so the network counts as one address.
IPV6_PREFIX = 64


class Refusal(NamedTuple):
    """The answer to a request that does not reach the application. `reason` is its label in /metrics."""

    reason: str
    status: int
    code: str
    detail: str

    def response(self) -> bytes:
        """The whole HTTP response, after which the connection is closed."""
        from telemetry.middleware.problems import MEDIA_TYPE, TITLES, document

        body = msgspec.json.encode(document(status_code=self.status, code=self.code, detail=self.detail))
        lines = [
            f"HTTP/1.1 {self.status} {TITLES[self.status]}",
            f"Content-Type: {MEDIA_TYPE}",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *([f"Retry-After: {RETRY_AFTER_SECONDS}"] if self.status == 503 else []),
        ]
        return "\r\n".join([*lines, "\r\n"]).encode() + body


HEAD_TOO_LARGE = Refusal(
    "head_too_large",
    431,
    "head_too_large",
    f"The request line and headers may have at most {HEAD_BYTES_MAX} bytes, and at most {HEADERS_MAX} headers.",
)
HEAD_TOO_SLOW = Refusal(
    "head", 408, "head_timeout", f"The request line and the headers must arrive within {HEAD_SECONDS:.0f} seconds."
)
BODY_TOO_SLOW = Refusal(
    "body",
    408,
    "body_timeout",
    f"After {BODY_GRACE_SECONDS:.0f} seconds a body must have arrived at {BODY_BYTES_PER_SECOND} bytes per second on "
    "average.",
)
MALFORMED = Refusal("malformed", 400, "malformed", "This is not an HTTP/1.1 request.")
INVALID_TARGET = Refusal(
    "malformed", 400, "invalid_target", "The target of a request is a path, or an http or https address with a host."
)
TOO_FEW_FILES = Refusal(
    "files", 503, "too_few_files", "The server has too many connections (limit of open files, RLIMIT_NOFILE)."
)


class Phase(Enum):
    """Which part of a request the connection is in."""

    OPENED = "accepted, nothing received"
    HEAD = "part of a head received"
    BODY = "head received, body not complete"
    ANSWER = "request received, answer not sent"
    IDLE = "answer sent, no further request"


class Progress:
    """The phase of a connection and since when it is in it, to find missed deadlines."""

    __slots__ = ("acknowledged", "phase", "received", "since", "stalled_since")

    def __init__(self) -> None:
        self.phase = Phase.OPENED
        self.since = time.monotonic()
        # Bytes of the body.
        self.received = 0
        self.acknowledged: int | None = None
        self.stalled_since: float | None = None

    def enter(self, phase: Phase) -> None:
        self.phase = phase
        self.since = time.monotonic()
        self.received = 0

    def begin(self) -> None:
        """The first byte of a request was received. A connection's first head counts from accept()."""
        if self.phase is Phase.OPENED:
            self.phase = Phase.HEAD
        elif self.phase is Phase.IDLE:
            self.enter(Phase.HEAD)

    def overdue(self, now: float) -> bool:
        """Whether the client exceeded its time for this phase."""
        seconds = now - self.since
        if self.phase is Phase.ANSWER:
            return False
        if self.phase is Phase.IDLE:
            return seconds > IDLE_SECONDS
        if self.phase is Phase.BODY:
            return seconds > BODY_GRACE_SECONDS and seconds * BODY_BYTES_PER_SECOND > self.received
        return seconds > HEAD_SECONDS

    def stalled(self, connection: Any, now: float) -> bool:
        """Whether the client has read nothing for UNREAD_SECONDS. Call it at each check while an answer is unsent."""
        acknowledged = bytes_acknowledged(connection)
        if self.stalled_since is None or acknowledged != self.acknowledged:
            self.acknowledged, self.stalled_since = acknowledged, now
        return now - self.stalled_since > UNREAD_SECONDS


class Checked(Protocol):
    def check(self, now: float) -> None:
        """Drops the connection if it missed a deadline. `now` is from `time.monotonic`."""


class Checks:
    """Checks all open connections of an event loop once per CHECK_SECONDS: a timer for each request would cost more."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.connections: set[Checked] = set()
        self.scheduled = False

    def add(self, connection: Checked) -> None:
        self.connections.add(connection)
        if not self.scheduled:
            self.schedule()

    def discard(self, connection: Checked) -> None:
        self.connections.discard(connection)

    def schedule(self) -> None:
        self.scheduled = True
        self.loop.call_later(CHECK_SECONDS, self.run)

    def run(self) -> None:
        self.scheduled = False
        now = time.monotonic()
        for connection in list(self.connections):
            try:
                connection.check(now)
            except Exception:  # one connection must not stop the checks of the others
                logger.exception("A connection cannot be checked")
        if self.connections:
            self.schedule()


_checks: WeakKeyDictionary[asyncio.AbstractEventLoop, Checks] = WeakKeyDictionary()


def checks_of(loop: asyncio.AbstractEventLoop) -> Checks:
    if (checks := _checks.get(loop)) is None:
        checks = _checks[loop] = Checks(loop)
    return checks


class Addresses:
    """How many connections each address has open in this process; bounded by CONNECTIONS_PER_ADDRESS."""

    def __init__(self) -> None:
        self.open: Counter[str] = Counter()
        self.log = Periodically(LOG_SECONDS)

    def admit(self, peer: str, descriptor: int) -> Refusal | None:
        """Counts a new connection and returns None, or returns the refusal.

        `peer` is from `counted_as`; `descriptor` is the connection's file descriptor.
        """
        if files_are_scarce(descriptor):
            CONNECTIONS_REFUSED.labels("files").inc()
            return TOO_FEW_FILES
        if not peer:
            return None
        limit = settings.CONNECTIONS_PER_ADDRESS
        if limit and self.open[peer] >= limit:
            CONNECTIONS_REFUSED.labels("address").inc()
            if self.log.due():
                logger.warning(
                    "Connections from %s are refused: it has %d open (CONNECTIONS_PER_ADDRESS). "
                    "If this is a proxy of yours, add it to TRUSTED_PROXIES.",
                    peer,
                    limit,
                )
            connections = counted(limit, "connection", "connections")
            detail = f"Your address has {connections} open, the limit (CONNECTIONS_PER_ADDRESS)."
            return Refusal("address", 503, "too_many_connections", detail)
        self.open[peer] += 1
        return None

    def release(self, peer: str) -> None:
        """Uncounts a connection. Call it once for each admitted connection, when it is closed."""
        if self.open[peer] > 1:
            self.open[peer] -= 1
        else:
            del self.open[peer]


addresses = Addresses()


@lru_cache(4096)
def counted_as(peer: str) -> str:
    """The name under which connections of this address are counted: the address, its IPv6 /64, or "" for not counted.

    Proxies in TRUSTED_PROXIES and Unix sockets (`peer` is empty) are not counted.
    """
    address = parse_address(peer)
    if address is None:
        return ""
    if any(address in parse_network(entry) for entry in settings.TRUSTED_PROXIES if entry != UNIX):
        return ""
    return str(ip_network((address, IPV6_PREFIX), strict=False)) if isinstance(address, IPv6Address) else str(address)


def count_dropped(reason: str) -> None:
    CONNECTIONS_DROPPED.labels(reason).inc()
