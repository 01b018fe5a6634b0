"""The end of a process: no statement keeps it alive."""

from django.db import connection

from telemetry.databases.sqlite.base import watch


def end_database_work() -> None:
    """Ends every statement of this process that is under way; its thread gets an error at once."""
    if connection.vendor == "postgresql":
        # Not at the top: psycopg is not needed where the database is SQLite.
        from telemetry.databases.postgresql.base import cut_connections

        cut_connections()
    else:
        watch.interrupt_all()
