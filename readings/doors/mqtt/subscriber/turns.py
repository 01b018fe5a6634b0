"""Lets one process at a time subscribe, because a broker gives a session to the last one that asks for it."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from django.db import DatabaseError, InterfaceError, connection

from devices.database.work_kinds import Work, current_work
from readings.upkeep.locks import Busy, exclusively

logger = logging.getLogger(__name__)

# Seconds between two attempts to get the turn, and between two looks whether the lock is still held.
POLL_SECONDS = 2.0


class Turn(threading.Thread):
    """Waits for the lock and holds it until `end`. Calls `changed`, in this thread, with True and False."""

    def __init__(self, changed: Callable[[bool], None]) -> None:
        super().__init__(name="mqtt-turn", daemon=True)
        self.changed = changed
        self.ended = threading.Event()
        self.waits = False

    def end(self) -> None:
        """Gives the turn to another process. Does not wait for the thread."""
        self.ended.set()

    def run(self) -> None:
        current_work.set(Work.UPKEEP)
        while not self.ended.is_set():
            try:
                with exclusively("subscriber"):
                    self.hold()
            except Busy:
                if not self.waits:
                    logger.info("Another process subscribes to the MQTT broker; this one waits.")
                self.waits = True
            except (DatabaseError, InterfaceError) as error:
                logger.warning("The subscription to the MQTT broker waits for the database: %s", str(error).strip())
            except Exception:
                logger.exception("The turn to subscribe to the MQTT broker failed")
            finally:
                with suppress(Exception):  # a connection that cannot be closed is already lost
                    connection.close()
            self.ended.wait(POLL_SECONDS)

    def hold(self) -> None:
        self.waits = False
        self.changed(True)
        try:
            while not self.ended.wait(POLL_SECONDS):
                with connection.cursor() as cursor:  # fails if the connection, and with it the lock, is lost
                    cursor.execute("SELECT 1")
        finally:
            self.changed(False)
