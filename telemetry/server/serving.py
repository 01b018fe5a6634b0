"""daphne with the application on HOST and PORT."""

import socket
import threading
from collections.abc import Callable

from django.conf import settings

from readings.upkeep.maintenance import keep_maintaining
from telemetry.databases.ending import end_database_work
from telemetry.server.files import raise_file_limit

# How long maintenance may take to end its step when the server stops, in seconds; then the step is interrupted.
STOP_SECONDS = 4.0


class CannotListen(Exception):
    """The address is taken, or not this machine's; the message says which."""


def check_address() -> None:
    """Raises CannotListen."""
    family = socket.AF_INET6 if ":" in settings.HOST else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.HOST, settings.PORT))
        except OSError as error:
            raise CannotListen(
                f"Cannot listen on {settings.HOST}:{settings.PORT}: {error.strerror}. "
                "Choose another port: PORT=8001 make run"
            ) from error


def serve(*, ready: Callable[[], None], lead: float = 0.0) -> None:
    """Serves until SIGTERM or Ctrl-C, and `lead` seconds longer; calls `ready` once it listens."""
    # Not at the top: importing daphne installs Twisted's reactor, and the application needs its settings checked.
    from daphne.endpoints import build_endpoint_description_strings

    from telemetry.asgi import application
    from telemetry.server.daphne_http import Server
    from telemetry.server.draining import BACKLOG

    raise_file_limit()
    (endpoint,) = build_endpoint_description_strings(host=settings.HOST, port=settings.PORT)
    Server(
        application=application,
        endpoints=[f"{endpoint}:backlog={BACKLOG}"],
        ready_callable=ready,
        server_name="",
        lead=lead,
    ).run()
    # What is still under way has outlived the draining; its threads would keep the process from its end.
    end_database_work()


def serve_and_maintain(*, ready: Callable[[], None]) -> None:
    """As `serve`, with maintenance in a thread."""
    stop = threading.Event()
    maintainer = threading.Thread(target=keep_maintaining, args=[stop], name="maintenance", daemon=True)
    maintainer.start()
    try:
        serve(ready=ready)
    finally:
        stop.set()
        maintainer.join(STOP_SECONDS)
        end_database_work()
        maintainer.join(STOP_SECONDS)
