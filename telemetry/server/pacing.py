"""Clients that read slowly: how much unsent data the kernel keeps for them, and whether they read at all."""

import socket
import struct
import sys
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


# Linux: `tcpi_bytes_acked` in `struct tcp_info` (linux/tcp.h).
ACKNOWLEDGED = struct.Struct("Q")
ACKNOWLEDGED_OFFSET = 120


def bytes_acknowledged(connection: Any) -> int | None:
    """How many bytes the peer of a TCP connection has acknowledged so far; None where the kernel does not say.

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
