import argparse
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from devices.database.distribution import require_distribution
from devices.plurals import counted
from telemetry.server.serving import CannotListen, check_address, serve, serve_as_worker, serve_with_workers
from telemetry.server.workers.shared_port import SharedPort

LEAD_SECONDS_MAX = 60
WORKERS_MAX = 64


class Command(BaseCommand):
    help = (
        "Runs only the server, on HOST and PORT: one of several processes on one PostgreSQL and Redis, or with "
        "--workers several on this port. `prepare` creates the tables and `maintain` runs maintenance; `up` does all "
        "three in one process."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--lead",
            type=float,
            default=0.0,
            help="seconds after SIGTERM during which it still accepts connections while /health/ready answers 503, so "
            f"that a proxy that checks it sends no more requests (default 0, at most {LEAD_SECONDS_MAX})",
        )
        parser.add_argument(
            "--workers",
            type=int,
            help=f"serve in this many processes (1 to {WORKERS_MAX}) on the port. A worker that ends is started again. "
            "SIGHUP replaces the workers one after the other, without a failed request. Default: in this process",
        )
        # A worker: the file descriptors of the listening socket and of the connection to the supervisor.
        parser.add_argument("--inherited", type=int, nargs=2, help=argparse.SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        if not 0 <= options["lead"] <= LEAD_SECONDS_MAX:
            raise CommandError(f"--lead must be from 0 to {LEAD_SECONDS_MAX} seconds.")
        if options["inherited"]:
            listener, supervisor = options["inherited"]
            serve_as_worker(SharedPort.inherited(listener=listener, supervisor=supervisor))
            return
        if options["workers"] is not None:
            check_workers(options["workers"])
        require_distribution()
        try:
            if options["workers"] is None:
                check_address()
                serve(ready=lambda: self.say("Serving."), lead=options["lead"])
            else:
                connection.close()  # the workers have their own
                serve_with_workers(
                    options["workers"],
                    ready=lambda: self.say(
                        f"Serving with {counted(options['workers'], 'worker', 'workers')}. SIGHUP replaces them."
                    ),
                    lead=options["lead"],
                )
        except CannotListen as error:
            raise CommandError(str(error)) from error

    def say(self, what: str) -> None:
        self.stdout.write(f"{what} SIGTERM stops the server after it has answered its requests.")
        self.stdout.flush()


def check_workers(count: int) -> None:
    """Raises CommandError."""
    if not 1 <= count <= WORKERS_MAX:
        raise CommandError(f"--workers must be from 1 to {WORKERS_MAX}.")
    if connection.vendor != "postgresql" or not settings.REDIS_URL:
        raise CommandError(
            "--workers needs PostgreSQL (DATABASE_URL) and Redis (REDIS_URL): SQLite lets one process write at a time, "
            "and without Redis a live page sees at once only the readings that its own worker received. Without "
            "--workers, `serve` runs on SQLite."
        )
