import os
import sys
from typing import Any, TextIO

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, OutputWrapper
from django.db import DatabaseError, InterfaceError

from devices.database.errors import WORDS, trouble_of, words_of
from telemetry.configuration.environment import in_container
from telemetry.configuration.installation import OPERATOR, missing_secrets, prepare_database, write_secrets


class Command(BaseCommand):
    help = (
        "Creates what is missing (secrets, tables, an operator's account) and ends. Run it before the processes of an "
        "installation start, and after each upgrade."
    )
    # `handle` runs the checks, after it has created missing secrets.
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        start_over_with_secrets(self.stdout)
        self.check()
        try:
            password = prepare_database()
        except (DatabaseError, InterfaceError) as error:
            if (trouble := trouble_of(error)) is None:
                raise
            raise CommandError(f"{WORDS[trouble]} ({words_of(error)})") from error
        if password:
            self.stdout.write(f"Account {OPERATOR}, password {password} (shown this once).")
        self.stdout.write("Ready.")


def start_over_with_secrets(out: TextIO | OutputWrapper) -> None:
    """If secrets are missing, writes them to `.env` and runs this command again from its start, to load them."""
    if missing := missing_secrets():
        write_secrets(missing, settings.ENV_FILE)
        out.write(
            f"Wrote {' and '.join(missing)} into {settings.ENV_FILE}{' of the container' if in_container() else ''}.\n"
        )
        out.flush()
        os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606
