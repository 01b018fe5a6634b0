"""Times at a door: a sent time is an age, because clients of a door have clocks and buffer what they cannot send."""

from datetime import UTC, datetime, timedelta

from readings.ingest.payloads import AGE_SECONDS_MAX, InvalidReading

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
TOO_OLD = f"The time is more than {AGE_SECONDS_MAX // 86_400} days before its receipt."


def nanoseconds(moment: datetime) -> int:
    """Nanoseconds since 1970 of a time with an offset."""
    return (moment - EPOCH) // MICROSECOND * 1000


class Receipt:
    """The time at which a request was received, and the times of its readings."""

    def __init__(self, at: datetime) -> None:
        self.at = at
        self.ns = nanoseconds(at)
        self.oldest_ns = self.ns - AGE_SECONDS_MAX * 1_000_000_000

    def measured_at(self, time_ns: int | None) -> datetime:
        """The time of a reading that was sent with this time: nanoseconds since 1970, of any size; None: no time.

        At most 31 days before the receipt it dates the reading. The receipt replaces no time, and one in the future.
        Raises InvalidReading (`too_old`).
        """
        if time_ns is None or time_ns >= self.ns:
            return self.at
        if time_ns < self.oldest_ns:
            raise InvalidReading("time", "too_old", TOO_OLD)
        return EPOCH + timedelta(0, time_ns // 1_000_000_000, time_ns % 1_000_000_000 // 1000)
