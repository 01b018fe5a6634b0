"""`manage.py up`: sets up and runs the whole product in one process."""

import asyncio
import logging
import threading
import time
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.utils import timezone

from devices.api.serializers import OVERLAP_SECONDS_DEFAULT
from devices.changes.log import ROTATED, command, log_added, log_changed
from devices.database.errors import WORDS, trouble_of, words_of
from devices.models import Device
from readings.simulator.fleet import SimulationError, VirtualDevice, server_url, simulate
from readings.upkeep.failures import FailureLog
from telemetry.configuration.environment import in_container
from telemetry.configuration.installation import OPERATOR, prepare_database
from telemetry.management.commands.prepare import start_over_with_secrets
from telemetry.server.serving import CannotListen, check_address, serve_and_maintain

logger = logging.getLogger(__name__)

DEMO_DEVICE = "demo"
DEMO_RETRY_SECONDS = 10.0


class Command(BaseCommand):
    help = (
        "Runs the whole product in one process: creates what is missing (secrets, tables, an operator's account, a "
        "demo device), serves, and runs maintenance. To run several processes use prepare, serve and maintain."
    )
    # `handle` runs the checks, after it has created missing secrets.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--no-demo", action="store_true", help="do not create the demo device, and do not simulate it"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        start_over_with_secrets(self.stdout)
        self.check()
        try:
            check_address()
            password = prepare_database()
            demo_key = None if options["no_demo"] else self.prepare_demo()
        except CannotListen as error:
            raise CommandError(str(error)) from error
        except (DatabaseError, InterfaceError) as error:
            if (trouble := trouble_of(error)) is None:
                raise
            raise CommandError(f"{WORDS[trouble]} ({words_of(error)})") from error
        connection.close()

        def ready() -> None:
            self.print_summary(password, demo_key)
            if demo_key:
                threading.Thread(target=run_demo, args=[demo_key], daemon=True, name="demo").start()

        serve_and_maintain(ready=ready)

    def prepare_demo(self) -> str:
        """The demo device's key. Each start makes a new one, as only hashes are stored; the last one stays valid."""
        with transaction.atomic():
            device = Device.objects.filter(device_id=DEMO_DEVICE).first()
            if device is None:
                device, key = Device.objects.register(device_id=DEMO_DEVICE, name="Demo", report_interval=5)
                log_added([device], by=command())
                return key
            # Forced: at a third start within a day the key of the first one ends early, which affects only the demo.
            overlap = timedelta(seconds=OVERLAP_SECONDS_DEFAULT)
            key = device.rotate_key(overlap=overlap, now=timezone.now(), force=True)
            log_changed([device], ROTATED, by=command())
            return key

    def print_summary(self, password: str | None, demo_key: str | None) -> None:
        lines = ["", "  It runs. Open the console and sign in:", "", f"  Console    {local_url()}/"]
        if password:
            lines += [f"  Account    {OPERATOR}", f"  Password   {password}   (shown this once)"]
        else:
            python = "docker exec -it CONTAINER python" if in_container() else ".venv/bin/python"
            lines += [f"  Account    as before; forgotten: {python} manage.py changepassword admin"]
        if demo_key:
            lines += [f"  Live       {local_url()}/live/{DEMO_DEVICE}/   (a device that measures by itself)"]
        lines += [f"  Guide      {local_url()}/guide", f"  API        {local_url()}/docs", ""]
        if demo_key:
            lines += [
                "  Post a reading of your own and see it on the live page (the demo gets a new key at each start):",
                "",
                f"curl -X POST {local_url()}/api/v1/ingest \\",
                f'  -H "X-API-Key: {demo_key}" \\',
                '  -H "Content-Type: application/json" \\',
                "  -d '{\"temperature\": 35}'",
                "",
            ]
        if in_container():
            lines += [
                "  These are addresses inside the container. Outside, use the address of the machine and the port"
            ]
            lines += ["  that is published (docker run -p PORT:8000), and list that address in ALLOWED_HOSTS.", ""]
        elif settings.HOST in ("127.0.0.1", "localhost", "::1"):
            lines += ["  Devices on your network reach it after: HOST=0.0.0.0 make run", ""]
        else:
            names = [name for name in settings.ALLOWED_HOSTS if name not in ("localhost", "127.0.0.1", "[::1]")]
            lines += ["  Devices on your network post to one of"]
            lines += [*(f"    http://{name}:{settings.PORT}/api/v1/ingest" for name in reversed(names)), ""]
        lines += ["  Ctrl-C stops it.", ""]
        self.stdout.write("\n".join(lines))
        self.stdout.flush()


def local_url() -> str:
    return server_url(settings.HOST, settings.PORT)


def run_demo(key: str) -> None:
    """Simulates the demo device until the process ends or the server finally refuses it."""
    failures = FailureLog(logger)
    while True:
        device = VirtualDevice(DEMO_DEVICE, key, acknowledged=None)
        try:
            asyncio.run(simulate([device], base_url=local_url(), interval=1.0))
        except SimulationError as error:
            logger.warning("The demo device stopped: %s", error)
            return
        except Exception as error:
            failures.write("The demo device failed and is restarted", error)
        time.sleep(DEMO_RETRY_SECONDS)
