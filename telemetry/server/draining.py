"""How daphne stops: it accepts nothing new, closes WebSockets, answers the requests it has, and then ends.

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

# Within the 25 s after which process managers are told to kill.
DRAIN_SECONDS = 20
# So long a handshake that has begun may take.
HANDSHAKE_SECONDS = 0.5
# So long a connection that was let in may take to send its first request, and one that a client or a proxy keeps open
# to send another; with the answer it is told that it ends (telemetry.server.daphne_http).
FIRST_SECONDS = 5.0
IDLE_SECONDS = 1.0
CANCELLED_SECONDS = 2
# Time for the clients of WebSockets to answer the close frame.
CLOSED_SECONDS = 2.0
LOOK_SECONDS = 0.02
# Connections that may wait to be accepted (`listen(2)`). Of those beyond, the kernel resets some that it has let in:
# Twisted's 50 are few for a fleet that comes back at once.
BACKLOG = 2048
GONE: Any = Failure(CONNECTION_DONE)  # type: ignore[no-untyped-call]  # Twisted's types leave it out

# Linux's names for options of IPv4 (ip(7)) and IPv6 (linux/in6.h), which Python does not have.
IP_MINTTL = 21
IPV6_MINHOPCOUNT = 73
# The highest there is. Packets arrive with less: 64 or 128 is what systems send with.
TTL_MAX = 255


def begin_no_more(listener: socket.socket) -> None:
    """From now on no connection to `listener` begins; those whose handshake has begun can still be accepted.

    The kernel resets a connection that it completes between the last accept() and close(), so none may begin in that
    time. The kernel drops packets to `listener` whose time to live is below its minimum (RFC 5082), without an answer:
    a client whose SYN is dropped sends it again a second later, and finds the port closed or another process there.
    Where the system does not have the option, as outside Linux, a client may be reset.
    """
    try:
        require_ttl(listener, TTL_MAX)
    except OSError as error:
        logger.info("New connections cannot be held off (%s): some may be reset as the port closes", error)


def receive_again(connection: socket.socket) -> None:
    """To be called for what is accepted after `begin_no_more`: a connection inherits the listener's minimum."""
    with contextlib.suppress(OSError):
        require_ttl(connection, 0)


def require_ttl(tcp: socket.socket, ttl: int) -> None:
    """Packets to `tcp` with a lower time to live are dropped. Raises OSError."""
    if sys.platform != "linux" or tcp.family not in (socket.AF_INET, socket.AF_INET6):
        return
    if tcp.family == socket.AF_INET6:
        tcp.setsockopt(socket.IPPROTO_IPV6, IPV6_MINHOPCOUNT, ttl)
    # Also of an IPv6 socket: IPv4 clients may come to it.
    tcp.setsockopt(socket.IPPROTO_IP, IP_MINTTL, ttl)


async def drain(server: Any) -> None:
    """Ends the connections of `server` (a `telemetry.server.daphne_http.Server`)."""
    loop = asyncio.get_running_loop()
    # `/health/ready` answers 503 already, so that a proxy turns to another process before this one closes its port.
    await asyncio.sleep(server.lead)
    for port in server.ports:
        begin_no_more(port.socket)
    await asyncio.sleep(HANDSHAKE_SECONDS)
    for port in server.ports:
        # The kernel has accepted these for us; closed now, they would be reset with their requests unread. Closed in
        # the same turn of the loop, not by stopListening(), which accepts others until the next turn.
        port.numberAccepts = BACKLOG
        port.doRead()
        port.connectionLost(GONE)
    started = loop.time()
    closing: set[Any] = set()
    while loop.time() < started + DRAIN_SECONDS:
        server.close_sockets()  # also those whose handshake has just ended
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
