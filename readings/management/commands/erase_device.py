from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError

from devices.models import Device
from devices.plurals import counted
from readings.upkeep.erasure import erase, holdings


class Command(BaseCommand):
    help = (
        "Permanently erases all readings, rollups, refused posts and alarms of a device; with --with-device also the "
        "device itself, its key and its history in the console. Does not change backups and log files."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("device_id")
        parser.add_argument("--with-device", action="store_true", help="erase the device itself too")
        parser.add_argument("--dry-run", action="store_true", help="show what would be erased, and erase nothing")
        parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")

    def handle(self, *args: Any, device_id: str, **options: Any) -> None:
        try:
            device = Device.objects.get(device_id=device_id)
            held = holdings(device)
            readings = counted(held.readings, "reading", "readings")
            rollups = counted(held.rollups, "rollup", "rollups")
            kinds = counted(held.refused_posts, "kind", "kinds")
            what = f"{readings}, {rollups} and {kinds} of refused posts of {device_id}"
            if options["with_device"]:
                what += ", and the device itself"
            if options["dry_run"]:
                self.stdout.write(f"Would erase {what}.")
                return
            if not options["yes"] and not self.confirmed(what, device_id):
                raise CommandError("Nothing was erased.")
            erased = sum(erase(device, with_device=options["with_device"]))
        except Device.DoesNotExist as error:
            raise CommandError(f"There is no device {device_id!r}.") from error
        except (DatabaseError, InterfaceError) as error:
            raise CommandError(f"The erasure is not complete. Run the command again: {str(error).strip()}") from error
        readings = counted(erased, "reading", "readings")
        self.stdout.write(f"Erased {readings} of {device_id}, and all its rollups and refused posts.")
        self.stdout.write(
            "The device was erased." if options["with_device"] else "Its log continues with its next number."
        )

    def confirmed(self, what: str, device_id: str) -> bool:
        self.stdout.write(f"This permanently erases {what}.")
        try:
            return input(f"Type the device's id ({device_id}) to continue: ").strip() == device_id
        except EOFError:
            return False
