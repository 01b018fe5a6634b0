import asyncio
import signal
from collections.abc import Callable, Sequence
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from devices.plurals import counted
from readings.simulator.comparison import compare
from readings.simulator.fleet import Outages, SimulationError, Tally, VirtualDevice, obtain_keys, server_url, simulate

# How long devices may continue to send their buffered readings after the end of the simulation.
DRAIN_SECONDS = 15


class Command(BaseCommand):
    help = (
        "Runs virtual devices that post readings over HTTP to a running server, until Ctrl-C. Then compares the "
        "acknowledged readings with the stored ones, and fails if any is lost, doubled or misdated."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--devices", type=int, default=5, help="number of devices (default 5)")
        parser.add_argument("--interval", type=float, default=1.0, help="seconds between two readings (default 1)")
        parser.add_argument("--duration", type=float, help="duration in seconds (default: until Ctrl-C)")
        parser.add_argument(
            "--outage-every", type=float, help="mean seconds between network outages of a device (default: no outages)"
        )
        parser.add_argument(
            "--outage-length", type=float, default=10.0, help="mean length of an outage in seconds (default 10)"
        )
        parser.add_argument("--url", default="", help="URL of the server (default: http://HOST:PORT from the settings)")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["devices"] < 1 or options["interval"] <= 0:
            raise CommandError("--devices must be at least 1, and --interval must be above 0.")
        outages = None
        if options["outage_every"] is not None:
            if options["outage_every"] <= 0 or options["outage_length"] <= 0:
                raise CommandError("--outage-every and --outage-length must be above 0.")
            outages = Outages(every=options["outage_every"], length=options["outage_length"])
        base_url = options["url"].rstrip("/") or server_url(settings.HOST, settings.PORT)
        names = [f"sim-{number:03}" for number in range(1, options["devices"] + 1)]
        try:
            devices = obtain_keys(names, base_url=base_url, admin_key=settings.API_SECRET_KEY)
            post = counted(len(devices), "device posts", "devices post")
            self.stdout.write(f"{post} to {base_url} every {options['interval']:g} s.")
            tally = self.run(devices, base_url, outages, options)
            self.stdout.write(str(tally))
            verdict = compare(devices, base_url=base_url)
        except SimulationError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(str(verdict))
        if not verdict.clean:
            raise CommandError("The acknowledged readings and the stored readings differ.")

    def run(
        self, devices: Sequence[VirtualDevice], base_url: str, outages: Outages | None, options: dict[str, Any]
    ) -> Tally:
        """Runs until the duration has passed or Ctrl-C; on a terminal the last line shows the progress."""
        console = Console()

        async def until_stopped(progress: Callable[[Tally], None]) -> Tally:
            stop = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
            return await simulate(
                devices,
                base_url=base_url,
                interval=options["interval"],
                duration=options["duration"],
                outages=outages,
                stop=stop,
                drain=DRAIN_SECONDS,
                progress=progress,
            )

        if not console.is_terminal:
            return asyncio.run(until_stopped(lambda tally: self.stdout.write(str(tally))))
        with console.status("Starting…") as status:
            return asyncio.run(until_stopped(lambda tally: status.update(str(tally))))
