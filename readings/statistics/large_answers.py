"""Large answers are made one at a time in a process, because each takes up to 80 MB of memory meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from django.db import connection
from rest_framework import status
from rest_framework.exceptions import APIException

WAIT_SECONDS = 10

being_made = Lock()


class TooManyLargeAnswers(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "too_many_large_answers"
    default_detail = (
        f"Another large answer is being made, and {WAIT_SECONDS} s were not enough (the constant WAIT_SECONDS of "
        "readings.statistics.large_answers). Ask again, or for less."
    )
    wait = 5


@contextmanager
def large_answer() -> Iterator[bool]:
    """Waits until no other is being made; True. Raises TooManyLargeAnswers."""
    if not being_made.acquire(blocking=False):
        if not connection.in_atomic_block:
            connection.close()  # whoever waits must not keep a connection from everybody else
        if not being_made.acquire(timeout=WAIT_SECONDS):
            raise TooManyLargeAnswers
    try:
        yield True
    finally:
        being_made.release()
