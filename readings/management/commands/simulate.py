import asyncio
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from readings.simulation import SimulationError, obtain_keys, server_url, simulate


class Command(BaseCommand):
    help = "Virtual devices that post readings over HTTP to a running server, until Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--devices", type=int, default=5, help="how many (default 5)")
        parser.add_argument("--interval", type=float, default=1.0, help="seconds between two readings (default 1)")
        parser.add_argument("--duration", type=float, help="seconds to run for (default: until Ctrl-C)")
        parser.add_argument("--url", default="", help="the server (default: http://HOST:PORT of the settings)")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["devices"] < 1 or options["interval"] <= 0:
            raise CommandError("--devices is at least 1, --interval is above 0.")
        base_url = options["url"].rstrip("/") or server_url(settings.HOST, settings.PORT)
        names = [f"sim-{number:03}" for number in range(1, options["devices"] + 1)]
        try:
            devices = obtain_keys(names, base_url=base_url, admin_key=settings.API_SECRET_KEY)
            self.stdout.write(f"{len(devices)} devices post to {base_url} every {options['interval']:g} s.")
            tally = asyncio.run(
                simulate(
                    devices,
                    base_url=base_url,
                    interval=options["interval"],
                    duration=options["duration"],
                    progress=lambda so_far: self.stdout.write(str(so_far)),
                )
            )
        except SimulationError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")
        else:
            self.stdout.write(str(tally))
