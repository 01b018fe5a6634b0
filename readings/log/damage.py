"""A part of a log that cannot be read, because its bytes were changed on the disk or by hand."""

import logging
import time
from datetime import datetime

from rest_framework import status
from rest_framework.exceptions import APIException

from devices.times import rfc3339

logger = logging.getLogger(__name__)

# A page that is loaded again and again would otherwise fill the log.
LOGGED_SECONDS = 3600
# More than this are not remembered; then each is logged again.
REMEMBERED = 1_000

logged: dict[str, float] = {}  # by text, when it was logged (time.monotonic)


class LogDamaged(APIException):
    """A segment of the device's log cannot be read. The other segments, and the rows after them, can.

    Written to the server's log at most once in LOGGED_SECONDS for each segment and process.
    """

    status_code = status.HTTP_500_INTERNAL_SERVER_ERROR
    default_code = "log_damaged"

    def __init__(self, device_id: str, first_seq: int, last_seq: int, reason: str) -> None:
        super().__init__(
            f"The readings {first_seq} to {last_seq} of {device_id} are damaged: {reason}. Restore them from a backup. "
            "Other readings can be requested."
        )
        self.device_id, self.first_seq, self.last_seq = device_id, first_seq, last_seq
        self.problem_members = {"device_id": device_id, "first_seq": first_seq, "last_seq": last_seq}
        log_once(str(self.detail))


class StatisticsDamaged(APIException):
    """A block of the device's rollups cannot be read. Other times and other metrics can.

    Written to the server's log at most once in LOGGED_SECONDS for each block and process.
    """

    status_code = status.HTTP_500_INTERNAL_SERVER_ERROR
    default_code = "statistics_damaged"

    def __init__(self, device_id: str, metric: str, start: datetime, end: datetime, reason: str) -> None:
        first, last = rfc3339(start), rfc3339(end)
        super().__init__(
            f"The statistics of {metric} of {device_id} from {first} to {last} are damaged: {reason}. Restore them "
            "from a backup. Other times and metrics can be requested."
        )
        self.problem_members = {"device_id": device_id, "metric": metric, "start": first, "end": last}
        log_once(str(self.detail))


def log_once(text: str) -> None:
    now = time.monotonic()
    if now - logged.get(text, -LOGGED_SECONDS) < LOGGED_SECONDS:
        return
    if len(logged) >= REMEMBERED:
        logged.clear()
    logged[text] = now
    logger.error("%s", text)
