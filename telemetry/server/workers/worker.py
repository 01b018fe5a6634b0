"""The server of a worker: daphne on the port that it shares with the other workers."""

import asyncio
from contextlib import suppress
from typing import Any

from twisted.internet.error import ReactorNotRunning

from telemetry.health import closing, draining
from telemetry.server.daphne_http import Server, loop_of_reactor
from telemetry.server.workers.shared_port import SharedPort


class Worker(Server):
    """Serves on `shared_port` until its supervisor ends it, or SIGTERM."""

    shares_port = True

    def __init__(self, *, shared_port: SharedPort, **options: Any) -> None:
        super().__init__(endpoints=["shared"], ready_callable=self.join, **options)
        # daphne does not start without one, but must not listen itself.
        self.endpoints: list[str] = []
        self.shared_port = shared_port

    def join(self) -> None:
        """Called when daphne has made its factories, before the event loop runs."""
        listener = self.shared_port.listener
        self.listen_success(loop_of_reactor.adoptStreamPort(listener.fileno(), listener.family, self.http_factory))
        listener.close()  # the reactor has a copy
        self.shared_port.follow(asyncio.get_event_loop(), closing=announce_closing, end=end)


def announce_closing() -> None:
    closing.set()
    draining.set()


def end() -> None:
    """Begins to drain, unless SIGTERM came before."""
    with suppress(ReactorNotRunning):
        loop_of_reactor.stop()
