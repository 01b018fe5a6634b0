"""Slow readers: limits unsent data in the kernel, and measures whether a client reads at all."""

import socket
import struct
import sys
from typing import Any

# Seconds in which a client must take the waiting data and the close; then the connection is dropped.
LINGER_SECONDS = 10.0

# Unsent bytes that may wait in the kernel, not counting those in flight. Without this limit the kernel buffers
# megabytes for a client that does not read, and until they are full the server cannot notice.
UNSENT_MAX = 16 * 1024


def bound_unsent(connection: Any) -> None:
    """Sets UNSENT_MAX on a TCP socket, or an event loop's object for one; does nothing for other sockets."""
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_MAX)


# Linux: `tcpi_bytes_acked` in `struct tcp_info` (linux/tcp.h).
ACKNOWLEDGED = struct.Struct("Q")
ACKNOWLEDGED_OFFSET = 120


def bytes_acknowledged(connection: Any) -> int | None:
    """The number of bytes that the peer of a TCP connection has acknowledged; None if the kernel does not say.

    A client that does not read acknowledges nothing once its receive buffer is full.
    """
    if sys.platform != "linux" or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    length = ACKNOWLEDGED_OFFSET + ACKNOWLEDGED.size
    described = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, length)
    if len(described) < length:  # before Linux 4.1
        return None
    (acknowledged,) = ACKNOWLEDGED.unpack_from(described, ACKNOWLEDGED_OFFSET)
    return int(acknowledged)
