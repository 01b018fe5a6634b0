"""Waits until another connection waits for a lock of this one; PostgreSQL only."""

import time

from django.conf import settings
from django.db import connection

TIMEOUT_SECONDS = 30
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
# The locks of Citus are on the nodes.
WAITING_AT_NODES = "SELECT count(*) FROM citus_lock_waits WHERE blocking_gpid = citus_backend_gpid()"


def wait_until_blocking() -> None:
    """Call it in the transaction that holds the lock."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    with connection.cursor() as cursor:
        while True:
            cursor.execute(WAITING_AT_NODES if settings.DISTRIBUTED else WAITING)
            if cursor.fetchone()[0]:
                return
            assert time.monotonic() < deadline, "nobody waits for a lock of this transaction"
            time.sleep(0.005)
