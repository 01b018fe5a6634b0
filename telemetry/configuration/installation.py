"""First-time setup of an installation: secrets, tables, and an operator's account."""

import secrets
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import Q

from devices.database.distribution import distribute
from devices.database.work_kinds import Work, working_at
from readings.upkeep.locks import exclusively
from telemetry.configuration.checks import secret
from telemetry.configuration.private_files import PRIVATE

OPERATOR = "admin"
GENERATED = ("SECRET_KEY", "API_SECRET_KEY")


def missing_secrets() -> list[str]:
    return [name for name in GENERATED if not secret(name)]


def write_secrets(names: list[str], path: Path) -> None:
    """Appends random values for these names to the `.env` file; the settings of this process do not change."""
    path.touch(mode=PRIVATE)
    path.chmod(PRIVATE)  # also an existing file
    with path.open("r+") as file:
        # The last line may lack its newline.
        before = file.read()
        file.write("\n" if before and not before.endswith("\n") else "")
        file.writelines(f"{name}={secrets.token_urlsafe(48)}\n" for name in names)


def prepare_database() -> str | None:
    """Applies migrations and creates a first account, one process at a time.

    Distributes the tables if DISTRIBUTED is true. Returns the account's password, or None if an account existed
    already. Raises DatabaseError, and NotDistributed without Citus.
    """
    connection.close()  # so that a connection for migrations, without a short deadline, is opened
    with working_at(Work.MIGRATION):
        try:
            with exclusively("migration", wait=True):
                call_command("migrate", interactive=False, verbosity=0)
                if settings.DISTRIBUTED:
                    distribute()
                return create_operator()
        finally:
            connection.close()


def create_operator() -> str | None:
    """Creates a superuser and returns its random password; None if a superuser, or an account of that name, exists."""
    if User.objects.filter(Q(is_superuser=True) | Q(username=OPERATOR)).exists():
        return None
    password = secrets.token_urlsafe(12)
    # In a transaction the password is hashed at once, without the deadline of a sign-in, which a busy machine can miss.
    with transaction.atomic():
        User.objects.create_superuser(OPERATOR, password=password)
    return password
