"""Waits until another connection waits for a lock of this one; PostgreSQL only."""

import time

from django.db import connection

TIMEOUT_SECONDS = 30


def wait_until_blocking() -> None:
    """Call it in the transaction that holds the lock."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    with connection.cursor() as cursor:
        while True:
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
            )
            if cursor.fetchone()[0]:
                return
            assert time.monotonic() < deadline, "nobody waits for a lock of this transaction"
            time.sleep(0.005)
