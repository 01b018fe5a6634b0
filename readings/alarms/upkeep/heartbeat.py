"""Heartbeats of the processes that receive readings. A silence counts only while one of them could have heard.

All processes update one row. A process that cannot write to the database cannot store readings either, so that a
database that is away counts as a gap, as do a server that was off and a clock that was set.
"""

import logging
import threading
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone

from devices.database.work_kinds import Work, current_work

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 5.0
# A longer time without a heartbeat of any process, or a clock that was set by more, is a gap.
GAP = timedelta(seconds=30)

BEAT = """
INSERT INTO alarms_reception AS reception (id, since, until) VALUES (1, %(now)s, %(now)s)
ON CONFLICT (id) DO UPDATE SET
    since = CASE WHEN reception.until < %(earliest)s OR reception.until > %(latest)s
                 THEN excluded.since ELSE reception.since END,
    until = excluded.until
"""


def beat(*, now: datetime) -> None:
    """Notes that this process can receive readings."""
    adapted = connection.ops.adapt_datetimefield_value
    parameters: dict[str, Any] = {"now": now, "earliest": now - GAP, "latest": now + GAP}
    with connection.cursor() as cursor:
        cursor.execute(BEAT, {name: adapted(moment) for name, moment in parameters.items()})


class Heart:
    """The thread that beats in a process that receives readings."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the thread unless it runs. It ends with the process."""
        if self.thread is not None:
            return
        with self.lock:
            if self.thread is None:
                self.thread = threading.Thread(target=keep_beating, name="heartbeat", daemon=True)
                self.thread.start()


heart = Heart()


def keep_beating(stop: threading.Event | None = None, *, interval: float = HEARTBEAT_SECONDS) -> None:
    """Beats until `stop` is set. Errors are logged once until a beat succeeds again."""
    current_work.set(Work.INGEST)
    stop = stop or threading.Event()
    failing = False
    while True:
        try:
            beat(now=timezone.now())
            failing = False
        except (DatabaseError, InterfaceError) as error:
            if not failing:
                logger.warning("The heartbeat cannot reach the database: %s", str(error).strip())
            failing = True
        except Exception:
            logger.exception("The heartbeat failed")
        finally:
            with suppress(Exception):  # a connection that cannot be closed is already lost
                connection.close()
        if stop.wait(interval):
            return
