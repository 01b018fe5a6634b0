"""`manage.py up`: the whole product in one process, from nothing."""

import asyncio
import logging
import os
import secrets
import socket
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import InterfaceError, OperationalError, connection
from django.db.models import Q
from django.utils import timezone

from devices.models import Device
from devices.serializers import OVERLAP_SECONDS_DEFAULT
from readings.maintenance import keep_maintaining
from readings.simulation import SimulationError, VirtualDevice, server_url, simulate
from telemetry.checks import secret
from telemetry.problems import UNREACHABLE

logger = logging.getLogger(__name__)

DEMO_DEVICE = "demo"
OPERATOR = "admin"
GENERATED = ("SECRET_KEY", "API_SECRET_KEY")


class Command(BaseCommand):
    help = "Set up what is missing (secrets, tables, an operator's account, a demo device) and serve."
    # Run by `handle`, once there are secrets to check.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--no-demo", action="store_true", help="without the demo device and its simulator")

    def handle(self, *args: Any, **options: Any) -> None:
        if missing := [name for name in GENERATED if not secret(name)]:
            self.generate_secrets(missing, settings.ENV_FILE)
        self.check()
        self.check_port()
        try:
            call_command("migrate", interactive=False, verbosity=0)
            password = self.create_operator()
            demo_key = None if options["no_demo"] else self.prepare_demo()
        except (OperationalError, InterfaceError) as error:
            raise CommandError(f"{UNREACHABLE} ({str(error).strip()})") from error
        connection.close()
        self.serve(password, demo_key)

    def generate_secrets(self, missing: list[str], path: Path) -> None:
        """Writes the missing secrets into `.env` and starts over with them."""
        path.touch(mode=0o600)
        path.chmod(0o600)  # also one that was there already
        with path.open("r+") as file:
            # The last line may lack its end.
            before = file.read()
            file.write("\n" if before and not before.endswith("\n") else "")
            file.writelines(f"{name}={secrets.token_urlsafe(36)}\n" for name in missing)
        self.stdout.write(f"Wrote {' and '.join(missing)} into {path}.")
        self.stdout.flush()
        os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606

    def check_port(self) -> None:
        family = socket.AF_INET6 if ":" in settings.HOST else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.HOST, settings.PORT))
            except OSError as error:
                raise CommandError(
                    f"Cannot listen on {settings.HOST}:{settings.PORT}: {error.strerror}. "
                    "Choose another port: PORT=8001 make run"
                ) from error

    def create_operator(self) -> str | None:
        """A first account with a password made up for it; None where there is one of its kind, or of its name."""
        if User.objects.filter(Q(is_superuser=True) | Q(username=OPERATOR)).exists():
            return None
        password = secrets.token_urlsafe(12)
        User.objects.create_superuser(OPERATOR, password=password)
        return password

    def prepare_demo(self) -> str:
        """The demo device's key. It gets a new one at each start, since keys are kept by hash; the last works on."""
        device = Device.objects.filter(device_id=DEMO_DEVICE).first()
        if device is None:
            return Device.objects.register(device_id=DEMO_DEVICE, name="Demo", report_interval=5)[1]
        return device.rotate_key(overlap=timedelta(seconds=OVERLAP_SECONDS_DEFAULT), now=timezone.now())

    def serve(self, password: str | None, demo_key: str | None) -> None:
        # Not at the top: importing daphne installs Twisted's reactor, and the application needs its tables.
        from daphne.endpoints import build_endpoint_description_strings

        from telemetry.asgi import application
        from telemetry.daphne import Server

        def ready() -> None:
            self.print_summary(password, demo_key)
            if demo_key:
                threading.Thread(target=run_demo, args=[demo_key], daemon=True, name="demo").start()

        stop = threading.Event()
        maintainer = threading.Thread(target=keep_maintaining, args=[stop], name="maintenance")
        maintainer.start()
        server = Server(
            application=application,
            endpoints=build_endpoint_description_strings(host=settings.HOST, port=settings.PORT),
            ready_callable=ready,
            server_name="",
        )
        try:
            server.run()
        finally:
            stop.set()
            maintainer.join()

    def print_summary(self, password: str | None, demo_key: str | None) -> None:
        lines = ["", f"  Console    {local_url()}/admin/"]
        if password:
            lines += [f"  Account    {OPERATOR}", f"  Password   {password}   (shown this once)"]
        else:
            lines += ["  Account    as before; forgotten: .venv/bin/python manage.py changepassword admin"]
        if demo_key:
            lines += [f"  Live       {local_url()}/live/{DEMO_DEVICE}/"]
        lines += [f"  API        {local_url()}/docs", ""]
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
        if settings.HOST in ("127.0.0.1", "localhost", "::1"):
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
    """The demo device, for as long as the process lives."""
    try:
        asyncio.run(simulate([VirtualDevice(DEMO_DEVICE, key, acknowledged=None)], base_url=local_url(), interval=1.0))
    except SimulationError as error:
        logger.warning("The demo device stopped: %s", error)
