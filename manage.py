#!/usr/bin/env python
import os
import sys

from telemetry.server.memory import limit_arenas

if __name__ == "__main__":
    limit_arenas()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "telemetry.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line

        from devices.database.work_kinds import Work, current_work
    except ModuleNotFoundError:
        sys.exit("This python has no Django. Run `make run` once, then use .venv/bin/python manage.py …")

    # A migration or an import takes longer than a question may. Requests of `up` and `serve` have their own deadlines.
    current_work.set(Work.MIGRATION if "migrate" in sys.argv[1:2] else Work.UPKEEP)
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"The configuration cannot be used. {error}")
