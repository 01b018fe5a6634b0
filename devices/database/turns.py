"""Turns of transactions that count rows before they add one."""

from enum import IntEnum

from django.db import connection


class Turn(IntEnum):
    """Keys of PostgreSQL's advisory locks: arbitrary numbers that nothing else uses."""

    VIEWS = 7_310_867_051


def one_at_a_time(turn: Turn) -> None:
    """Waits until no other transaction has this turn; this one has it until it ends.

    SQLite runs one writing transaction at a time in any case.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [turn])
