from typing import Any

from django.core.management.base import BaseCommand

from devices.database.distribution import distribute
from devices.database.work_kinds import Work, working_at


class Command(BaseCommand):
    help = (
        "Distributes the tables of the log by device over the nodes of a PostgreSQL with Citus (docs/scaling.md). What "
        "is distributed stays as it is. `prepare` does this after migrations if DISTRIBUTED is true."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        with working_at(Work.MIGRATION):
            tables = distribute()
        for table in tables:
            self.stdout.write(f"{table} is distributed now.")
        if not tables:
            self.stdout.write("Everything is distributed already.")
