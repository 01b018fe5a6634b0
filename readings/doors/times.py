"""Times at a door: a sent time is an age, because clients of a door have clocks and buffer what they cannot send."""

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from readings.ingest.payloads import AGE_SECONDS_MAX, InvalidReading
from readings.log.entries import Refusal

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# A time in MessagePack: an extension of 12 bytes and type -1, then nanoseconds and seconds.
TIME = "3sIq"
TIME_HEADER = b"\xc7\x0c\xff"
times_decoder = msgspec.msgpack.Decoder(list[datetime])
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

    def each_measured_at(self, times_ns: Sequence[int | None]) -> list[datetime | Refusal]:
        """As `measured_at` for each of these times. If all date their readings, this takes half the time."""
        known = [time_ns for time_ns in times_ns if time_ns is not None]
        if known and len(known) == len(times_ns) and min(known) >= self.oldest_ns and max(known) < self.ns:
            return [*datetimes(known)]
        found: list[datetime | Refusal] = []
        for time_ns in times_ns:
            try:
                found.append(self.measured_at(time_ns))
            except InvalidReading as error:
                found.append(error.refusal)
        return found


def datetimes(times_ns: Sequence[int]) -> list[datetime]:
    """These nanoseconds since 1970, from 1970 on, as times with whole microseconds, rounded down.

    Decoded from MessagePack, because adding a timedelta takes three times as long.
    """
    parts: list[bytes | int] = []
    for time_ns in times_ns:
        seconds, rest = divmod(time_ns, 1_000_000_000)
        parts += (TIME_HEADER, rest - rest % 1000, seconds)
    return times_decoder.decode(
        b"\xdd" + len(times_ns).to_bytes(4) + struct.pack(">" + TIME * len(times_ns), *parts)  # an array of so many
    )
