"""Converts the times of a file to UTC, including local times around a change of the clock."""

from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from readings.ingest.csv_import.problems import quoted
from readings.ingest.csv_import.times import parse_time, proposed_format
from readings.ingest.payloads import InvalidReading
from readings.windows import EARLIEST, InvalidMoment

# Refused times for which a format is proposed.
ADVISED_MAX = 100


class Order:
    """In which direction the times of a device go through the file; to tell the two passes of a repeated hour."""

    def __init__(self) -> None:
        self.last: datetime | None = None
        self.direction = 0  # 1: ascending, -1: descending, 0: unknown
        self.repeats = False  # whether the file has the same time several times in a row

    def choose(self, first: datetime, second: datetime) -> datetime:
        """Which of the two it is: the one that is nearest behind the last time, if the times keep their direction.

        So in a file with rising times the first, until a time repeats or goes back; the first, too, if that does not
        tell.
        """
        if self.last is None:
            return first
        # After the first row the direction is unknown, but both may lie in the same.
        direction = self.direction or (first >= self.last) - (second < self.last)
        if not direction:
            return first
        for candidate in (first, second) if direction > 0 else (second, first):
            if (candidate > self.last) - (candidate < self.last) == direction:
                return candidate
            if self.repeats and candidate == self.last:
                return candidate
        return first

    def follow(self, moment: datetime, *, ambiguous: bool) -> None:
        if self.last is not None and moment != self.last:
            self.direction = 1 if moment > self.last else -1
        elif self.last is not None and not ambiguous:
            self.repeats = True
        self.last = moment


class Times:
    """Converts the times of one file to UTC, and counts what had to be assumed.

    `without_offset` counts the times that were taken as UTC because no zone was given; `warn` is called at the first.
    `taken_as_first` and `taken_as_second` count times that occur twice, because the clock was put back.
    """

    def __init__(
        self,
        *,
        now: datetime,
        zone: ZoneInfo | None = None,
        time_format: str = "",
        warn: Callable[[str], object] = str,
    ) -> None:
        self.now, self.zone, self.time_format, self.warn = now, zone, time_format, warn
        self.without_offset = self.taken_as_first = self.taken_as_second = self.advised = 0
        self.orders: dict[str, Order] = {}

    def moment(self, text: str, device_id: str) -> datetime:
        """The time in a cell of this device. Raises InvalidReading."""
        try:
            parsed = self.parse(text)
            moment = parsed.astimezone(UTC) if parsed.tzinfo else self.resolve(parsed, text, device_id)
        except InvalidMoment as error:
            raise InvalidReading("timestamp", "invalid_time", f"{error}{self.advice(text)}") from error
        except (ValueError, OverflowError) as error:
            detail = f"{quoted(text)} is not a time. Write RFC 3339 (2026-05-09T10:00:00Z).{self.advice(text)}"
            if self.time_format:
                detail = f"{quoted(text)} does not match --time-format {self.time_format!r}."
            raise InvalidReading("timestamp", "invalid_time", detail) from error
        if moment > self.now:
            raise InvalidReading("timestamp", "in_the_future", f"{text[:40]} is in the future.")
        if moment < EARLIEST:
            raise InvalidReading("timestamp", "too_early", f"{text[:40]} is before 1970.")
        return moment

    def summary(self) -> list[str]:
        """Sentences about what was assumed; none if nothing was."""
        sentences = []
        if self.without_offset:
            sentences.append(f"Times without an offset, taken as UTC: {self.without_offset:,} (--tz names their zone).")
        if twice := self.taken_as_first + self.taken_as_second:
            sentences.append(
                f"Times that occur twice, because the clock was put back: {twice:,}; {self.taken_as_first:,} taken as "
                f"the first and {self.taken_as_second:,} as the second of the two, by the order of the rows."
            )
        return sentences

    def advice(self, text: str) -> str:
        """Proposes a format, for the first ADVISED_MAX times, because trying all formats takes long."""
        self.advised += 1
        found = proposed_format([text]) if self.advised <= ADVISED_MAX else ""
        return f" Or name its format: --time-format '{found}'." if found else ""

    def parse(self, text: str) -> datetime:
        """Naive if the text has no offset. Raises ValueError or OverflowError."""
        if self.time_format:
            return datetime.strptime(text, self.time_format)  # noqa: DTZ007  `resolve` adds the zone
        return parse_time(text)

    def resolve(self, naive: datetime, text: str, device_id: str) -> datetime:
        """A time without an offset as UTC. Raises InvalidReading if the zone's clock never showed it."""
        if self.zone is None:
            if not self.without_offset:
                self.warn(
                    f"Warning: times without an offset, such as {quoted(text)}, are taken as UTC. If they are local "
                    "times, name their zone, such as --tz Europe/Berlin, and erase what was stored with wrong times."
                )
            self.without_offset += 1
            return naive.replace(tzinfo=UTC)
        first, second = naive.replace(tzinfo=self.zone), naive.replace(tzinfo=self.zone, fold=1)
        before, after = first.utcoffset(), second.utcoffset()
        assert before is not None
        assert after is not None
        if before < after:
            detail = f"{text[:40]} does not exist in {self.zone.key}, because the clock was put forward over it."
            raise InvalidReading("timestamp", "invalid_time", detail)
        order = self.orders.setdefault(device_id, Order())
        ambiguous = before != after
        moment = first.astimezone(UTC)
        if ambiguous:
            # Compared in UTC, because Python holds a time that occurs twice unequal to any time of another zone.
            earlier, moment = moment, order.choose(moment, second.astimezone(UTC))
            self.taken_as_first += moment == earlier
            self.taken_as_second += moment != earlier
        order.follow(moment, ambiguous=ambiguous)
        return moment
