from typing import Any

from django.core.management.base import BaseCommand, CommandError

from telemetry.serving import CannotListen, check_address, serve


class Command(BaseCommand):
    help = (
        "Serves on HOST and PORT, and nothing else: one of several processes on one PostgreSQL and Redis. `prepare` "
        "makes the tables, `maintain` keeps them; `up` does all three in one process."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            check_address()
        except CannotListen as error:
            raise CommandError(str(error)) from error
        serve(ready=lambda: self.stdout.write("Serving. SIGTERM stops it, once what was taken in is answered."))
