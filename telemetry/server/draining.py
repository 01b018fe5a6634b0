"""Orderly shutdown of daphne: it accepts no connections, closes WebSockets, answers its requests, and then ends.

daphne itself cancels running requests, whose clients then cannot know whether their readings were stored.
"""

import asyncio
import contextlib
import logging
import socket
import sys
from typing import Any

from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure

logger = logging.getLogger(__name__)

# Seconds; less than the 25 s after which process managers are configured to kill.
DRAIN_SECONDS = 20
# Seconds that a TCP handshake that has begun may take.
HANDSHAKE_SECONDS = 0.5
# Seconds in which a new connection may send its first request, and in which a kept-alive connection may send another
# one, whose answer says `Connection: close` (telemetry.server.daphne_http).
FIRST_SECONDS = 5.0
IDLE_SECONDS = 1.0
CANCELLED_SECONDS = 2
# Seconds for WebSocket clients to answer the close frame.
CLOSED_SECONDS = 2.0
LOOK_SECONDS = 0.02
# Connections that may wait to be accepted (`listen(2)`). Beyond that the kernel resets some. Twisted's default of 50 is
# too few for a fleet that reconnects at once.
BACKLOG = 2048
GONE: Any = Failure(CONNECTION_DONE)  # type: ignore[no-untyped-call]  # Twisted's types leave it out

# Linux socket options of IPv4 (ip(7)) and IPv6 (linux/in6.h) that Python does not define.
IP_MINTTL = 21
IPV6_MINHOPCOUNT = 73
# The highest TTL. Systems send with 64 or 128, so packets arrive with less.
TTL_MAX = 255


def begin_no_more(listener: socket.socket) -> None:
    """Stops new connections to `listener`; those whose handshake has begun can still be accepted.

    The kernel resets a connection that it completes between the last accept() and close(), so none may begin then.
    With a minimum TTL (RFC 5082) the kernel drops packets to `listener` without an answer. A client whose SYN is
    dropped sends it again a second later, and finds the port closed or another process there. On systems without the
    option (not Linux) some clients may be reset.
    """
    try:
        require_ttl(listener, TTL_MAX)
    except OSError as error:
        logger.info("New connections cannot be stopped (%s): some may be reset when the port closes", error)


def receive_again(connection: socket.socket) -> None:
    """Undoes `begin_no_more` for a connection accepted after it, which inherits the listener's minimum TTL."""
    with contextlib.suppress(OSError):
        require_ttl(connection, 0)


def require_ttl(tcp: socket.socket, ttl: int) -> None:
    """Makes the kernel drop packets to `tcp` with a lower time to live (TTL). Raises OSError."""
    if sys.platform != "linux" or tcp.family not in (socket.AF_INET, socket.AF_INET6):
        return
    if tcp.family == socket.AF_INET6:
        tcp.setsockopt(socket.IPPROTO_IPV6, IPV6_MINHOPCOUNT, ttl)
    # Also for an IPv6 socket, because IPv4 clients can connect to it.
    tcp.setsockopt(socket.IPPROTO_IP, IP_MINTTL, ttl)


async def drain(server: Any) -> None:
    """Ends the connections of `server` (a `telemetry.server.daphne_http.Server`) within about DRAIN_SECONDS."""
    loop = asyncio.get_running_loop()
    # `/health/ready` answers 503 already, so a proxy can switch to another process before this port closes.
    await asyncio.sleep(server.lead)
    if not server.shares_port:  # else the supervisor does it, because the other workers go on
        for port in server.ports:
            begin_no_more(port.socket)
        await asyncio.sleep(HANDSHAKE_SECONDS)
    for port in server.ports:
        # Accept the connections that the kernel has completed: if closed now, they would be reset with their requests
        # unread. Close the port in the same turn of the loop; stopListening() would accept others until the next turn.
        port.numberAccepts = BACKLOG
        port.doRead()
        port.connectionLost(GONE)
    started = loop.time()
    closing: set[Any] = set()
    while loop.time() < started + DRAIN_SECONDS:
        server.close_sockets()  # also those opened since the last round
        channels = list(server.http_factory.channels)
        if not channels and (loop.time() > started + CLOSED_SECONDS or not server.open_sockets()):
            break
        for channel in channels:
            patience = IDLE_SECONDS if channel.answered else FIRST_SECONDS
            if not channel.requests and channel not in closing and loop.time() > started + patience:
                closing.add(channel)
                channel.loseConnection()
        await asyncio.sleep(LOOK_SECONDS)
    running = [
        details["application_instance"]
        for details in server.connections.values()
        if "application_instance" in details and not details["application_instance"].done()
    ]
    for application in running:
        application.cancel()
    if running:
        await asyncio.wait(running, timeout=CANCELLED_SECONDS)
