"""What a worker has inherited from its supervisor: the listening socket, and a connection to the supervisor.

The worker sends READY once it listens. The supervisor sends CLOSING when the port is about to close, and closes the
connection when this worker has to end. The system also closes it if the supervisor dies.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Self

READY = b"r"
CLOSING = b"c"


class SharedPort:
    """`listener` accepts in all workers. The kernel keeps it open until the supervisor and all workers closed it."""

    def __init__(self, listener: socket.socket, supervisor: socket.socket) -> None:
        self.listener = listener
        self.supervisor = supervisor
        self.supervisor.setblocking(False)

    @classmethod
    def inherited(cls, *, listener: int, supervisor: int) -> Self:
        """From the numbers of the two file descriptors. Raises OSError if one is not an open socket."""
        return cls(socket.socket(fileno=listener), socket.socket(fileno=supervisor))

    def follow(self, loop: asyncio.AbstractEventLoop, *, closing: Callable[[], None], end: Callable[[], None]) -> None:
        """Tells the supervisor that this worker listens. Calls `closing` and `end` when the supervisor says so."""

        def read() -> None:
            said = b""
            with contextlib.suppress(ConnectionError):
                said = self.supervisor.recv(16)
            if said:
                closing()
            else:
                loop.remove_reader(self.supervisor)
                end()

        with contextlib.suppress(ConnectionError):
            self.supervisor.send(READY)
        loop.add_reader(self.supervisor, read)
