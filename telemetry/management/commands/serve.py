from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from devices.database.distribution import require_distribution
from telemetry.server.serving import CannotListen, check_address, serve

LEAD_SECONDS_MAX = 60


class Command(BaseCommand):
    help = (
        "Runs only the server, on HOST and PORT: one of several processes on one PostgreSQL and Redis. `prepare` "
        "creates the tables and `maintain` runs maintenance; `up` does all three in one process."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--lead",
            type=float,
            default=0.0,
            help="seconds after SIGTERM during which it still accepts connections while /health/ready answers 503, so "
            f"that a proxy that checks it sends no more requests (default 0, at most {LEAD_SECONDS_MAX})",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not 0 <= options["lead"] <= LEAD_SECONDS_MAX:
            raise CommandError(f"--lead must be from 0 to {LEAD_SECONDS_MAX} seconds.")
        require_distribution()
        try:
            check_address()
        except CannotListen as error:
            raise CommandError(str(error)) from error

        def ready() -> None:
            self.stdout.write("Serving. SIGTERM stops the server after it has answered its requests.")
            self.stdout.flush()

        serve(ready=ready, lead=options["lead"])
