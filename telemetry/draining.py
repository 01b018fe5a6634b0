"""How daphne stops: it takes in nothing new, answers what it has taken in, and then ends.

Of itself it cancels the requests under way, whose clients cannot know then whether their readings were stored.
"""

import asyncio
import ctypes
import logging
import socket
import struct
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
# to send another; with the answer it is told that it ends (telemetry.daphne).
FIRST_SECONDS = 5.0
IDLE_SECONDS = 1.0
CANCELLED_SECONDS = 2
LOOK_SECONDS = 0.02
# Connections that may wait to be accepted (`listen(2)`). Of those beyond, the kernel resets some that it has let in:
# Twisted's 50 are few for a fleet that comes back at once.
BACKLOG = 2048
GONE: Any = Failure(CONNECTION_DONE)  # type: ignore[no-untyped-call]  # Twisted's types leave it out

# Linux's, which Python does not name.
SO_ATTACH_FILTER = 26
# Classic BPF: (code, jump if true, jump if false, operand) each, over a packet from its TCP header on.
BEGINNINGS_ARE_DROPPED = [
    (0x30, 0, 0, 13),  # load the byte of flags
    (0x54, 0, 0, 0x12),  # of them, SYN and ACK
    (0x15, 0, 1, 0x02),  # where that is a SYN alone, with which a handshake begins,
    (0x06, 0, 0, 0),  # drop it,
    (0x06, 0, 0, 0xFFFFFFFF),  # else keep it
]


def begin_no_more(listener: socket.socket) -> None:
    """From here on no connection to `listener` begins; those that have begun can still be accepted.

    The kernel resets whoever it has let in between the last accept() and close(), so nobody may come between these two.
    A client whose SYN is dropped sends it again a second later, and finds the port closed or another process there.
    Linux alone can do that; elsewhere, and where a sandbox forbids it, a client may be reset.
    """
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in BEGINNINGS_ARE_DROPPED))
    described = struct.pack("HP", len(BEGINNINGS_ARE_DROPPED), ctypes.addressof(program))
    try:
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)
    except OSError as error:
        logger.warning("Cannot keep connections from beginning (%s): some may be reset as the port closes", error)


async def drain(server: Any) -> None:
    """Ends the connections of `server` (a `telemetry.daphne.Server`): HTTP once it is answered, sockets after that."""
    loop = asyncio.get_running_loop()
    # `/health/ready` says 503 already, so that a proxy turns to another process before this one shuts its door.
    await asyncio.sleep(server.lead)
    for port in server.ports:
        begin_no_more(port.socket)
    await asyncio.sleep(HANDSHAKE_SECONDS)
    for port in server.ports:
        # The kernel has accepted these for us; closed now, they would be reset with their requests unread. Closed in
        # the same breath, not by stopListening(), which lets others in until the loop comes round.
        port.numberAccepts = BACKLOG
        port.doRead()
        port.connectionLost(GONE)
    started = loop.time()
    closing: set[Any] = set()
    while (channels := server.http_factory.open_channels()) and loop.time() < started + DRAIN_SECONDS:
        for channel in channels:
            patience = IDLE_SECONDS if channel in server.http_factory.answered else FIRST_SECONDS
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
