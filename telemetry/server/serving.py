"""Runs daphne with the application on HOST and PORT, in this process or in several workers."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Sequence

from django.conf import settings

from readings.alarms.delivery.courier import keep_delivering
from readings.alarms.delivery.wakeup import wake
from readings.alarms.evaluation.loop import Waker, keep_evaluating
from readings.alarms.upkeep.heartbeat import heart
from readings.upkeep.maintenance import keep_maintaining
from telemetry.databases.ending import end_database_work
from telemetry.server.files import raise_file_limit
from telemetry.server.workers.shared_port import SharedPort

# Seconds in which maintenance, the evaluation of alarms and the delivery of messages must end their steps when the
# server stops; then the steps are interrupted.
STOP_SECONDS = 4.0


class CannotListen(Exception):
    """The address is in use, or not one of this machine; the message says which."""


def check_address() -> None:
    """Checks that the server can listen on HOST and PORT. Raises CannotListen."""
    bound_socket().close()


def bound_socket(*, backlog: int | None = None) -> socket.socket:
    """A socket on HOST and PORT; with `backlog` it listens. Raises CannotListen."""
    family = socket.AF_INET6 if ":" in settings.HOST else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((settings.HOST, settings.PORT))
        if backlog is not None:
            bound.listen(backlog)
    except OSError as error:
        bound.close()
        raise CannotListen(
            f"Cannot listen on {settings.HOST}:{settings.PORT}: {error.strerror}. "
            "Choose another port: PORT=8001 make run"
        ) from error
    return bound


def serve(*, ready: Callable[[], None], lead: float = 0.0, mqtt: bool = False) -> None:
    """Serves until SIGTERM or Ctrl-C, and for `lead` more seconds; calls `ready` once it listens."""
    # Imported here: daphne installs Twisted's reactor on import, and the application checks its settings.
    from daphne.endpoints import build_endpoint_description_strings

    from telemetry.asgi import application, lane
    from telemetry.server.daphne_http import Server
    from telemetry.server.draining import BACKLOG
    from telemetry.server.mqtt import Listener

    raise_file_limit()
    heart.start()
    (endpoint,) = build_endpoint_description_strings(host=settings.HOST, port=settings.PORT)
    Server(
        application=application,
        endpoints=[f"{endpoint}:backlog={BACKLOG}"],
        ready_callable=ready,
        server_name="",
        lead=lead,
        start_mqtt=(lambda: Listener(lane.shared_objects())) if mqtt else None,
    ).run()
    # Statements that still run have outlasted the draining; their threads would delay the end of the process.
    end_database_work()


def serve_with_workers(count: int, *, ready: Callable[[], None], lead: float) -> None:
    """Serves in `count` processes until SIGTERM or Ctrl-C, and for `lead` more seconds. Raises CannotListen."""
    from telemetry.server.draining import BACKLOG
    from telemetry.server.workers.supervisor import Supervisor

    with bound_socket(backlog=BACKLOG) as listener:
        listener.setblocking(False)

        async def run() -> None:
            await Supervisor(listener, count=count, lead=lead, ready=ready).run()

        asyncio.run(run())


def serve_as_worker(shared_port: SharedPort) -> None:
    """Serves as one of the processes of `serve_with_workers`, until that ends it."""
    from telemetry.asgi import application
    from telemetry.server.workers.worker import Worker

    raise_file_limit()
    heart.start()
    Worker(application=application, shared_port=shared_port, server_name="").run()
    end_database_work()


def serve_and_maintain(*, ready: Callable[[], None]) -> None:
    """Does the same as `serve`, and runs maintenance, the evaluation of alarms and their delivery in threads."""
    stop, waker = threading.Event(), Waker()
    waker.listen()
    threads = [
        threading.Thread(target=keep_maintaining, args=[stop], name="maintenance", daemon=True),
        threading.Thread(target=keep_evaluating, args=[stop], kwargs={"waker": waker}, name="alarms", daemon=True),
        threading.Thread(target=keep_delivering, args=[stop], name="delivery", daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        serve(ready=ready, mqtt=True)
    finally:
        stop.set()
        waker.end()
        wake()
        join(threads)
        end_database_work()
        join(threads)


def join(threads: Sequence[threading.Thread]) -> None:
    """Waits until the threads have ended, for STOP_SECONDS in total."""
    deadline = time.monotonic() + STOP_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
