"""What a server keeps of a WebSocket whose reader is behind: little, so that it soon shows, and not for long."""

import socket
from typing import Any

# What a client has to take in the close and what waits before it, until the connection is dropped.
LINGER_SECONDS = 10.0

# Bytes that may wait in the kernel for their turn, beside those that are under way. Without a bound it takes megabytes
# for a reader who has stopped, and for so long it is served like everyone.
UNSENT_MAX = 16 * 1024


def bound_unsent(connection: Any) -> None:
    """`connection`: a socket, or what an event loop gives for one; one that is not TCP is left as it is."""
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_MAX)
