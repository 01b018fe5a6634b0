from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from telemetry.server.serving import CannotListen, check_address, serve

LEAD_SECONDS_MAX = 60


class Command(BaseCommand):
    help = (
        "Serves on HOST and PORT, and nothing else: one of several processes on one PostgreSQL and Redis. `prepare` "
        "makes the tables, `maintain` keeps them; `up` does all three in one process."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--lead",
            type=float,
            default=0.0,
            help="after SIGTERM, seconds in which it still lets clients in while /health/ready says 503, so that a "
            f"proxy that looks there turns away in time (default 0, at most {LEAD_SECONDS_MAX})",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not 0 <= options["lead"] <= LEAD_SECONDS_MAX:
            raise CommandError(f"--lead is from 0 to {LEAD_SECONDS_MAX} seconds.")
        try:
            check_address()
        except CannotListen as error:
            raise CommandError(str(error)) from error

        def ready() -> None:
            self.stdout.write("Serving. SIGTERM stops it, once what was taken in is answered.")
            self.stdout.flush()

        serve(ready=ready, lead=options["lead"])
