from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError

from devices.models import Device
from devices.plurals import counted
from readings.upkeep.verification.log import verify


class Command(BaseCommand):
    help = (
        "Verifies the logs of all devices, or of the named ones: that no reading is missing, doubled or damaged, and "
        "that positions and statistics match. Changes nothing; the server may run. Fails if something is wrong."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("device_id", nargs="*", help="only these devices")

    def handle(self, *args: Any, device_id: list[str], **options: Any) -> None:
        faults = checked = 0
        try:
            known = Device.objects.order_by("device_id").values_list("device_id", flat=True)
            if absent := sorted(set(device_id) - set(known.filter(device_id__in=device_id))):
                raise CommandError(f"There is no device {absent[0]!r}.")
            after = ""
            chosen = known.filter(device_id__in=device_id) if device_id else known
            # One after the other, because a connection with an open result cannot be used for other statements.
            while name := chosen.filter(device_id__gt=after).first():
                for fault in verify(name):
                    faults += 1
                    self.stdout.write(f"{name}: {fault}.")
                checked += 1
                after = name
        except (DatabaseError, InterfaceError) as error:
            raise CommandError(f"The check is not complete: {str(error).strip()}") from error
        devices = counted(checked, "device", "devices")
        if faults:
            raise CommandError(f"{counted(faults, 'fault', 'faults')} in the logs of {devices}.")
        self.stdout.write(f"The logs of {devices} are complete, and their statistics match.")
