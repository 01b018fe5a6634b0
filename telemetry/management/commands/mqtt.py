import asyncio
import gc
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from devices.database.distribution import require_distribution
from readings.alarms.upkeep.heartbeat import heart
from readings.doors.mqtt.subscriber.subscriber import words_of
from telemetry.configuration.checks import TAG
from telemetry.databases.ending import end_database_work
from telemetry.gateway.sharing import Shared
from telemetry.server.files import raise_file_limit
from telemetry.server.memory import return_free_memory
from telemetry.server.metrics_port import MetricsPort
from telemetry.server.mqtt import CannotListen, Listener


class Command(BaseCommand):
    help = (
        "Listens for MQTT on MQTT_PORT and MQTT_TLS_PORT, and subscribes to the broker MQTT_BROKER_URL. "
        "`up` includes it; beside `serve` run it as its own process."
    )

    # It has no pages, whose checks would import all of them.
    requires_system_checks = [TAG]

    def handle(self, *args: Any, **options: Any) -> None:
        raise_file_limit()
        require_distribution()
        heart.start()
        # As in `telemetry.asgi`: otherwise each full collection would scan all that was imported.
        gc.collect()
        return_free_memory()
        gc.freeze()
        try:
            asyncio.run(self.listen())
        except CannotListen as error:
            raise CommandError(str(error)) from error
        end_database_work()

    async def listen(self) -> None:
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        listener = Listener(Shared())
        addresses = await listener.start()
        metrics = MetricsPort()
        if settings.MQTT_METRICS_PORT:
            try:
                await metrics.start()
            except OSError as error:
                await listener.stop()
                where = f"{settings.HOST}:{settings.MQTT_METRICS_PORT}"
                raise CannotListen(f"Cannot listen for metrics on {where}: {words_of(error)}.") from error
        broker = listener.subscribe()
        if not addresses and not broker:
            raise CannotListen("MQTT is off: set MQTT_PORT, MQTT_TLS_PORT or MQTT_BROKER_URL, and list mqtt in DOORS.")
        if addresses:
            self.stdout.write(f"Listening for MQTT on {', '.join(addresses)}.")
        if broker:
            self.stdout.write(f"Subscribing to the MQTT broker {broker}.")
        self.stdout.flush()
        await stopped.wait()
        await listener.stop()
        metrics.stop()
