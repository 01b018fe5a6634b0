"""Notes how long each log was at a time, since no reading says when it was received."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F

from readings.models import ReceiptMark
from readings.upkeep.sealing.known_ids import IDS_KEPT, forget

# Longest time between two marks of a device that posts.
INTERVAL = timedelta(days=1)
# Readings that are too few for a segment are sealed when the oldest of them has been old enough for this long.
WAIT = timedelta(days=7)

# Only of logs that have grown since their last mark, and that have rows.
NOTE = """
INSERT INTO readings_receiptmark (device_id, noted_at, seq)
SELECT state.device_id, %s, state.last_seq FROM devices_devicestate AS state
WHERE state.last_seq > state.sealed_seq AND NOT EXISTS (
    SELECT 1 FROM readings_receiptmark AS mark
    WHERE mark.device_id = state.device_id AND (mark.noted_at > %s OR mark.seq >= state.last_seq)
)
"""
# The newest mark of each log, as one of this time, unless it is of an earlier one.
LIMIT = """
INSERT INTO readings_receiptmark (device_id, noted_at, seq)
SELECT device_id, %s, max(seq) FROM readings_receiptmark WHERE noted_at >= %s GROUP BY device_id
ON CONFLICT (device_id, noted_at) DO UPDATE SET seq = excluded.seq
"""
# Without a time zone, because Citus refuses functions in an UPDATE that depend on the session's.
MOVE = """
UPDATE readings_receiptmark SET noted_at = (noted_at AT TIME ZONE 'UTC' + make_interval(secs => %s)) AT TIME ZONE 'UTC'
"""
# The newest mark up to a time, of devices where it ends something: itself, earlier marks or ids.
ENDED = """
SELECT mark.device_id, max(mark.seq), state.sealed_seq FROM readings_receiptmark AS mark
JOIN devices_devicestate AS state ON state.device_id = mark.device_id
WHERE mark.noted_at <= %s
GROUP BY mark.device_id, state.sealed_seq HAVING count(*) > 1 OR max(mark.seq) <= state.sealed_seq
ORDER BY mark.device_id
"""


def seal_after() -> timedelta:
    """How long after their receipt readings are sealed. 0: never."""
    return timedelta(days=settings.SEAL_AFTER_DAYS)


def note(*, now: datetime) -> int:
    """Notes the length of each log that has grown, unless its last mark is recent; returns the number of marks.

    Deletes marks of the future, which a wrong clock has made.
    """
    moment = connection.ops.adapt_datetimefield_value
    of_the_future = ReceiptMark.objects.filter(noted_at__gt=now)
    if of_the_future.exists():
        of_the_future.delete()
    recent = now - min(INTERVAL, seal_after() / 2)
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute(NOTE, [moment(now), moment(recent)])
        return int(cursor.rowcount)


def follow(jump: timedelta, *, now: datetime) -> None:
    """Moves all marks by what the trusted time has jumped by, to `now`, so that each stays as old as it was.

    By the new time, the old marks could be days or years too old, so that readings would be sealed and their ids be
    forgotten too early. They are not noted anew, because a machine that is often off would then never seal. A mark of
    the clock, which differed from the trusted time, counts as noted `now`. Within the caller's transaction, which notes
    the jump.
    """
    before = connection.ops.adapt_datetimefield_value(now - jump)
    with connection.cursor() as cursor:
        cursor.execute(LIMIT, [before, before])
        ReceiptMark.objects.filter(noted_at__gt=now - jump).delete()
        if connection.vendor == "postgresql":
            cursor.execute(MOVE, [jump.total_seconds()])
        else:
            ReceiptMark.objects.update(noted_at=F("noted_at") + jump)


def end(*, now: datetime) -> Iterator[int]:
    """Forgets the ids of sealed readings that were received more than IDS_KEPT ago, and marks that say nothing new.

    Yields the number of forgotten ids of each transaction. It may be stopped between two of them.
    """
    kept = max(IDS_KEPT, seal_after() + WAIT)
    with connection.cursor() as cursor:
        cursor.execute(ENDED, [connection.ops.adapt_datetimefield_value(now - kept)])
        ended = cursor.fetchall()
    for device_id, seq, sealed_seq in ended:
        yield from forget(device_id, until=seq)
        over = ReceiptMark.objects.filter(device_id=device_id)
        # The last mark stays until all that it says is sealed.
        (over.filter(seq__lte=seq) if seq <= sealed_seq else over.filter(seq__lt=seq)).delete()
