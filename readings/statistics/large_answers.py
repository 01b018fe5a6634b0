"""Limits a process to one large answer at a time, because each takes up to 80 MB of memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from django.db import connection
from rest_framework import status
from rest_framework.exceptions import APIException

# How long a request waits for the large answer before it.
WAIT_SECONDS = 10

being_made = Lock()


class TooManyLargeAnswers(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "too_many_large_answers"
    default_detail = (
        f"Another large answer was not finished within {WAIT_SECONDS} s (the constant WAIT_SECONDS of "
        "readings.statistics.large_answers). Send the request again, or request less."
    )
    wait = 5


@contextmanager
def large_answer() -> Iterator[bool]:
    """Waits until no other large answer is in progress; yields True. Raises TooManyLargeAnswers after WAIT_SECONDS."""
    if not being_made.acquire(blocking=False):
        if not connection.in_atomic_block:
            connection.close()  # a waiting request must not hold a connection that others need
        if not being_made.acquire(timeout=WAIT_SECONDS):
            raise TooManyLargeAnswers
    try:
        yield True
    finally:
        being_made.release()
