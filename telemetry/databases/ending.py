"""Ends running statements, so that they do not delay the end of the process."""

from django.db import connection

from telemetry.databases.sqlite.base import watch


def end_database_work() -> None:
    """Ends every running statement of this process; its thread gets an error at once."""
    if connection.vendor == "postgresql":
        # Imported here, because psycopg is not needed with SQLite.
        from telemetry.databases.postgresql.pools import cut_connections

        cut_connections()
    else:
        watch.interrupt_all()
