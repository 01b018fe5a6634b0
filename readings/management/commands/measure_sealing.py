from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError

from devices.plurals import counted
from readings.log import reader
from readings.log.segments.measuring import measure
from readings.overview import storage_bytes

DEVICES, SEGMENTS = 20, 4


class Command(BaseCommand):
    help = (
        "Says how many bytes a reading would take in the compressed form of docs/log-format.md, by encoding the newest "
        "readings of some devices and decoding them again. Changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("device_id", nargs="?", help="only this device (default: the first devices by id)")
        parser.add_argument("--devices", type=positive, default=DEVICES, help=f"how many devices (default: {DEVICES})")
        parser.add_argument(
            "--segments", type=positive, default=SEGMENTS, help=f"of 2,048 readings of each (default: {SEGMENTS})"
        )

    def handle(self, *args: Any, device_id: str | None, devices: int, segments: int, **options: Any) -> None:
        try:
            sample = measure(devices=devices, segments=segments, device_id=device_id)
            stored = reader.about_stored() if sample.readings else 0
            size = storage_bytes()
        except (DatabaseError, InterfaceError) as error:
            raise CommandError(f"The database does not answer: {str(error).strip()}") from error
        if not sample.readings:
            raise CommandError(f"{device_id!r} has no readings." if device_id else "There are no readings.")
        if sample.different:
            named = ", ".join(sample.different)
            raise CommandError(
                f"Readings of {named} did not come back as they were. This is a fault: please report it."
            )
        self.stdout.write(
            f"{counted(sample.readings, 'reading', 'readings')} of {counted(sample.devices, 'device', 'devices')} "
            "were encoded, decoded again and compared: all are the same."
        )
        columns = ", ".join(f"{name} {length / sample.readings:.2f}" for name, length in sample.columns.most_common(12))
        self.stdout.write(f"Compressed: {sample.size / sample.readings:.2f} bytes a reading ({columns}).")
        self.stdout.write(
            f"Now: {size / stored:.0f} bytes a reading, with indexes, statistics and everything else "
            f"(about {stored:,} readings in {size / 1e6:,.1f} MB)."
        )


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number
