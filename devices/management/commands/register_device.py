from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from devices.api.serializers import NewDeviceSerializer
from devices.changes.log import command, log_added
from devices.models import Device
from devices.querysets import DeviceIdTaken


class Command(BaseCommand):
    help = "Register a device. Prints only its API key to standard output; the key is not shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("device_id", help="1 to 64 letters, digits and . _ : -")
        parser.add_argument("--name", default="", help="display name")
        parser.add_argument("--report-interval", type=int, help="how often it should report, in seconds")

    def handle(self, *args: Any, **options: Any) -> None:
        wish = {name: options[name] for name in ("device_id", "name", "report_interval")}
        values = NewDeviceSerializer(data=wish)
        if not values.is_valid():
            raise CommandError("; ".join(f"{name}: {errors[0]}" for name, errors in values.errors.items()))
        try:
            with transaction.atomic():
                device, key = Device.objects.register(**values.validated_data)
                log_added([device], by=command())
        except DeviceIdTaken as error:
            raise CommandError(f"A device with the id {options['device_id']} already exists.") from error
        self.stderr.write(f"Registered {device.device_id}. Its API key is shown only once:")
        self.stdout.write(key)
