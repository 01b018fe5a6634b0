"""Connects to checked addresses only, and ends every connection at a deadline."""

import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any

import httpcore
from django.conf import settings

from readings.alarms.delivery.addresses import AddressRefused, check_address
from readings.alarms.delivery.answers import CONNECT_SECONDS, READ_SECONDS

# Addresses of a name that are tried, one after the other.
ADDRESSES_MAX = 4


class NameUnknown(Exception):
    """The name of the host has no address."""


class DeadlinePassed(Exception):
    """The whole exchange took too long, although something was always received."""


class CheckedBackend(httpcore.NetworkBackend):
    """Resolves a name, checks each of its addresses, and connects to a checked one, not to the name.

    So that a name cannot have another address when it is connected to. `deadline`: by `time.monotonic()`.
    """

    def __init__(self, *, deadline: float) -> None:
        self.deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Raises NameUnknown, AddressRefused, and the errors of httpcore."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise NameUnknown from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        # All of them, because a name with one forbidden address is meant to be mistaken.
        for address in addresses:
            check_address(address, private=settings.ALLOW_PRIVATE_TARGETS)
        failure: Exception = NameUnknown()
        for address in addresses[:ADDRESSES_MAX]:
            seconds = min(CONNECT_SECONDS, self.deadline - time.monotonic())
            if seconds <= 0:
                raise DeadlinePassed
            try:
                stream = httpcore.SyncBackend().connect_tcp(address, port, seconds)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return BoundedStream(stream, self.deadline)
        raise failure


class BoundedStream(httpcore.NetworkStream):
    """Waits at most READ_SECONDS for a byte, and not at all after the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self.stream, self.deadline = stream, deadline

    def left(self) -> float:
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise DeadlinePassed
        return min(READ_SECONDS, seconds)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, self.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, self.left())

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return BoundedStream(self.stream.start_tls(ssl_context, server_hostname, self.left()), self.deadline)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


def words_of(error: Exception) -> str:
    """What went wrong, for people, without the address's path."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"The receiver's certificate is not valid: {cause.verify_message}."
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed: {cause.reason or 'no details'}."
        cause = cause.__cause__ or cause.__context__
    match error:
        case AddressRefused():
            return str(error)
        case NameUnknown():
            return "The name of the receiver's host has no address."
        case DeadlinePassed() | httpcore.TimeoutException():
            return "The receiver did not answer in time."
        case httpcore.ConnectError():
            return f"No connection to the receiver: {error}."
    return f"The connection to the receiver failed: {str(error) or type(error).__name__}."
