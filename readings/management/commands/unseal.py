import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError

from devices.models import DeviceState
from devices.plurals import counted
from readings.log.damage import LogDamaged
from readings.upkeep.sealing.unseal import unseal


class Command(BaseCommand):
    help = (
        "Turns the sealed readings of all devices, or of the named ones, back into rows, for a downgrade to a version "
        "that cannot read segments. Rows take about fifty times as many bytes. Needs SEAL_AFTER_DAYS=0, or maintenance "
        "would seal the readings again. The server may run; maintenance waits. Can be stopped and repeated."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("device_id", nargs="*", help="only these devices")

    def handle(self, *args: Any, device_id: list[str], **options: Any) -> None:
        if settings.SEAL_AFTER_DAYS:
            raise CommandError(
                f"SEAL_AFTER_DAYS is {settings.SEAL_AFTER_DAYS:g}, so maintenance would seal the readings again. "
                "Set it to 0, restart the processes, and run the command with SEAL_AFTER_DAYS=0."
            )
        readings = new_ids = 0
        damaged: list[LogDamaged] = []
        try:
            known = DeviceState.objects.order_by("device_id").values_list("device_id", flat=True)
            if absent := sorted(set(device_id) - set(known.filter(device_id__in=device_id))):
                raise CommandError(f"There is no device {absent[0]!r}.")
            chosen = known.filter(device_id__in=device_id) if device_id else known
            for name in map(str, list(chosen.filter(sealed_seq__gt=0))):
                try:
                    for done in unseal(name):
                        readings += done.readings
                        new_ids += done.new_ids
                except LogDamaged as error:
                    damaged.append(error)
        except (DatabaseError, InterfaceError) as error:
            raise CommandError(f"Not all readings are rows yet. Run the command again: {str(error).strip()}") from error
        self.stdout.write(f"{counted(readings, 'reading', 'readings')} became rows.")
        if new_ids:
            self.stdout.write(
                f"{counted(new_ids, 'of them has', 'of them have')} a new id, because a later reading has the same one."
            )
        sys.stdout.flush()
        if damaged:
            raise CommandError("\n".join(str(error.detail) for error in damaged))
