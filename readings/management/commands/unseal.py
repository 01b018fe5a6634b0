import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError

from devices.models import DeviceState
from devices.plurals import counted
from readings.log.damage import LogDamaged, StatisticsDamaged
from readings.upkeep.sealing.unseal import unseal, unseal_rollups


class Command(BaseCommand):
    help = (
        "Turns sealed readings and statistics of all devices, or of the named ones, back into rows, to go back to a "
        "version that cannot read them. Rows take about fifty times as many bytes. Needs SEAL_AFTER_DAYS=0, or "
        "maintenance would seal them again. The server may run; maintenance waits. Can be stopped and repeated."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("device_id", nargs="*", help="only these devices")
        parser.add_argument("--statistics", action="store_true", help="only the statistics, not the readings")

    def handle(self, *args: Any, device_id: list[str], statistics: bool, **options: Any) -> None:
        if settings.SEAL_AFTER_DAYS:
            raise CommandError(
                f"SEAL_AFTER_DAYS is {settings.SEAL_AFTER_DAYS:g}, so maintenance would seal the readings again. "
                "Set it to 0, restart the processes, and run the command with SEAL_AFTER_DAYS=0."
            )
        rollups = readings = new_ids = 0
        damaged: list[LogDamaged | StatisticsDamaged] = []
        try:
            known = DeviceState.objects.order_by("device_id").values_list("device_id", flat=True)
            if absent := sorted(set(device_id) - set(known.filter(device_id__in=device_id))):
                raise CommandError(f"There is no device {absent[0]!r}.")
            chosen = known.filter(device_id__in=device_id) if device_id else known
            for name in map(str, list(chosen)):
                try:
                    for rows in unseal_rollups(name):
                        rollups += rows
                except StatisticsDamaged as error:
                    damaged.append(error)
            for name in () if statistics else map(str, list(chosen.filter(sealed_seq__gt=0))):
                try:
                    for done in unseal(name):
                        readings += done.readings
                        new_ids += done.new_ids
                except LogDamaged as error:
                    damaged.append(error)
        except (DatabaseError, InterfaceError) as error:
            raise CommandError(f"Not everything is rows yet. Run the command again: {str(error).strip()}") from error
        if rollups or statistics:
            self.stdout.write(f"{counted(rollups, 'rollup', 'rollups')} became rows.")
        if not statistics:
            self.stdout.write(f"{counted(readings, 'reading', 'readings')} became rows.")
        if new_ids:
            self.stdout.write(
                f"{counted(new_ids, 'of them has', 'of them have')} a new id, because a later reading has the same one."
            )
        sys.stdout.flush()
        if damaged:
            raise CommandError("\n".join(str(error.detail) for error in damaged))
