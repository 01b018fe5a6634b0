"""How daphne stops: it takes in nothing new, answers what it has taken in, and then ends.

Of itself it cancels the requests under way, whose clients cannot know then whether their readings were stored.
"""

import asyncio
from typing import Any

from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure

# Within the 25 s after which process managers are told to kill.
DRAIN_SECONDS = 20
# So long a connection that was let in may take to send its first request, and one that a client or a proxy keeps open
# to send another; with the answer it is told that it ends (telemetry.daphne).
FIRST_SECONDS = 5.0
IDLE_SECONDS = 1.0
CANCELLED_SECONDS = 2
LOOK_SECONDS = 0.02
# More than the connections that may wait to be accepted.
BACKLOG = 1000
GONE: Any = Failure(CONNECTION_DONE)  # type: ignore[no-untyped-call]  # Twisted's types leave it out


async def drain(server: Any) -> None:
    """Ends the connections of `server` (a `telemetry.daphne.Server`): HTTP once it is answered, sockets after that."""
    loop = asyncio.get_running_loop()
    # `/health/ready` says 503 already, so that a proxy turns to another process before this one shuts its door.
    await asyncio.sleep(server.lead)
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
