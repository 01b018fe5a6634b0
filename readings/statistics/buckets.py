"""Buckets: parts of equal length of a window, for which `aggregate` returns statistics."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

BUCKETS_MAX = 10_000
POINTS_DEFAULT = 500
SECONDS_MAX = 3650 * 86_400
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
BUCKET = re.compile(r"(\d{1,7})([smhd])", re.ASCII)
END_OF_TIME = datetime.max.replace(tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# The sizes for `auto`; they fit the marks of a clock or calendar.
SIZES = "1s 2s 5s 10s 15s 30s 1m 2m 5m 10m 15m 30m 1h 2h 3h 6h 12h 1d 2d 7d 14d 28d 56d 112d 364d"
AUTOMATIC = tuple(SIZES.split())


class InvalidBucket(ValueError):
    """The text is not a bucket, or the bucket is too small for the window."""


class Bucket(msgspec.Struct, frozen=True):
    """A size of buckets: `seconds`, or `days` if not 0: calendar days in `tz`, of 23 to 25 hours each."""

    name: str
    seconds: int
    days: int
    tz: ZoneInfo

    def floor(self, moment: datetime) -> datetime:
        """The start in UTC of the bucket that contains `moment`. Buckets are aligned to the epoch, or to midnight."""
        if not self.days:
            return EPOCH + (moment - EPOCH) // timedelta(seconds=self.seconds) * timedelta(seconds=self.seconds)
        midnight = self._first_day(moment)
        # If clocks are put back across midnight, the last hour of the old day repeats after the new day began.
        following = self._at(midnight, days_later=self.days)
        return following if following <= moment else self._at(midnight)

    def next(self, start: datetime) -> datetime:
        """The start of the next bucket after the one that begins at `start`."""
        if not self.days:
            size = timedelta(seconds=self.seconds)
            return start + size if size < END_OF_TIME - start else END_OF_TIME
        return self._at(self._first_day(start), days_later=self.days)

    def starts(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """The starts of all buckets that overlap `[start, end)`; the first may lie before `start`."""
        moment = self.floor(start)
        while moment < end:
            yield moment
            moment = self.next(moment)

    def count(self, start: datetime, end: datetime) -> int:
        """The number of buckets that overlap `[start, end)`; a day that a zone skipped counts as a bucket of 1d."""
        first, last = self.floor(start), self.floor(end - timedelta(microseconds=1))
        if not self.days:
            return (last - first) // timedelta(seconds=self.seconds) + 1
        return (self._first_day(last) - self._first_day(first)).days // self.days + 1

    def _first_day(self, moment: datetime) -> datetime:
        """The local midnight, as a naive datetime, of the first day of the bucket with the local day of `moment`.

        The zone may have skipped this day, as Samoa did on 30 December 2011: the bucket begins later, and ends where it
        would otherwise.
        """
        midnight = moment.astimezone(self.tz).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0)
        # Counted from 1 January of the year 1, a Monday, so that buckets of 7d are calendar weeks.
        return midnight - timedelta(days=(midnight.toordinal() - 1) % self.days)

    def _at(self, midnight: datetime, *, days_later: int = 0) -> datetime:
        """Converts a local midnight to UTC; a midnight skipped by a clock change becomes the time of that change."""
        try:
            return (midnight + timedelta(days=days_later)).replace(tzinfo=self.tz).astimezone(UTC)
        except OverflowError:
            return END_OF_TIME


def parse_bucket(
    text: str, *, start: datetime, end: datetime, points: int, tz: ZoneInfo, whole_hours: bool = False
) -> Bucket:
    """Parses a bucket (`30s 5m 1h 1d 7d`, or `auto`: the smallest of AUTOMATIC with at most `points` buckets).

    With `whole_hours`, `auto` chooses at least 1h. Raises InvalidBucket, also if the window would have more than
    BUCKETS_MAX buckets.
    """

    def named(text: str) -> Bucket:
        number, unit = int(text[:-1]), text[-1]
        return Bucket(text, number * SECONDS[unit], number if unit == "d" else 0, tz)

    if text == "auto":
        sizes = [bucket for bucket in map(named, AUTOMATIC) if bucket.seconds >= 3600 or not whole_hours]
        return next((bucket for bucket in sizes if bucket.count(start, end) <= points), sizes[-1])
    match = BUCKET.fullmatch(text)
    if not match or not int(match[1]):
        raise InvalidBucket("A bucket is a number and s, m, h or d (30s, 5m, 1h, 1d, 7d), or auto.")
    bucket = named(text)
    if bucket.seconds > SECONDS_MAX:
        raise InvalidBucket("A bucket is at most 3650 days.")
    if bucket.count(start, end) > BUCKETS_MAX:
        raise InvalidBucket(f"The window has more than {BUCKETS_MAX} buckets of {text}. Use larger buckets.")
    return bucket


class BucketPlaces:
    """Finds the bucket of a time. `bucket` None: the whole window `[start, end)`.

    Times before the window, as in a widened window, belong to its first bucket.
    """

    def __init__(self, start: datetime, end: datetime, bucket: Bucket | None) -> None:
        self.bucket, self.begin, self.end = bucket, microseconds(start), microseconds(end)
        # Of the whole window and of days; other buckets are computed.
        self.starts = [start] if bucket is None else list(bucket.starts(start, end)) if bucket.days else []
        self.edges = [microseconds(moment) for moment in self.starts]

    def of(self, at: int) -> tuple[datetime, int]:
        """The start of the bucket with this time, and where the next one begins, in microseconds since 1970."""
        at = max(at, self.begin)
        if self.bucket is None or self.bucket.days:
            number = bisect_right(self.edges, at)
            return self.starts[number - 1], self.edges[number] if number < len(self.edges) else self.end
        width = self.bucket.seconds * 1_000_000
        begins = at // width * width
        return EPOCH + timedelta(microseconds=begins), begins + width


def microseconds(moment: datetime) -> int:
    """Since 1970."""
    return (moment - EPOCH) // timedelta(microseconds=1)
