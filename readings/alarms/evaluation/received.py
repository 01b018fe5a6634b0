"""Readings that this process has stored and that were not judged yet, so that an evaluation need not read them back.

They only save work. Which readings are judged next is decided by the positions in the database, and what is missing
here is read from the log. Also finds the devices whose new readings may open or resolve an alarm. The others may wait,
because a step that brings no event can be taken later with the same result.
"""

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import takewhile

import msgspec

from devices.metrics import COLUMNS
from readings.alarms.evaluation.positions import Part
from readings.alarms.evaluation.received_log import Expected, Log
from readings.alarms.evaluation.samples import Series
from readings.log.entries import Appended
from readings.windows import EARLIEST

# Readings that surely bring no event wait, because the more readings of a device are judged at once, the less each
# costs: a second for each 1,000 readings that arrive in a second, but at most WAIT_SECONDS.
READINGS_PER_SECOND = 1_000
WAIT_SECONDS = 10.0
# Maximum number of readings that were not taken yet, of about 350 bytes each.
INBOX_READINGS = 50_000
# Maximum number of readings that wait to be judged: 8 to 56 bytes for the time and 8 for each metric that rules judge.
HELD_READINGS = 300_000
# Maximum number of devices that are remembered without readings, with about a kilobyte each.
DEVICES = 20_000


class Received:
    """The readings by device. `note` may be called by any thread, the other methods by the evaluation's alone."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inbox: list[Sequence[Appended]] = []
        self.inbox_readings = 0
        # Whether the evaluation has rules that judge readings.
        self.wanted = False
        # Whether readings are missing: they must be looked for in the log.
        self.incomplete = True
        self.logs: dict[str, Log] = {}
        # Those with readings, in the order of their `since`.
        self.waiting: dict[str, Log] = {}
        self.readings = 0
        # The devices whose readings may bring an event.
        self.urgent: set[str] = set()
        self.arrived = 0
        self.asked_at = 0.0

    def note(self, appended: Sequence[Appended]) -> None:
        """Takes readings that were committed."""
        if not self.wanted:
            return
        count = sum([len(log.readings) for log in appended])
        with self.lock:
            if self.inbox_readings + count > INBOX_READINGS:
                self.inbox, self.inbox_readings, self.incomplete = [], 0, True
            else:
                self.inbox.append(appended)
                self.inbox_readings += count

    def want(self, wanted: bool) -> None:
        """Forgets everything: other rules judge other metrics."""
        with self.lock:
            self.inbox, self.inbox_readings, self.incomplete = [], 0, True
            self.wanted = wanted
        self.logs, self.waiting, self.readings = {}, {}, 0
        self.urgent.clear()

    def take(self, *, metrics: AbstractSet[str], watched: Collection[str] | None, moment: float) -> None:
        """Adds what arrived to the logs, and notes urgent devices.

        `metrics`: those that rules judge. `watched`: only these devices; None: all. `moment`: time.monotonic.
        """
        with self.lock:
            inbox, arrived = self.inbox, self.inbox_readings
            self.inbox, self.inbox_readings = [], 0
        columns = [name for name in COLUMNS if name in metrics]
        logs = self.logs
        for appended in inbox:
            for entries in appended:
                device_id, readings = entries.device_id, entries.readings
                if watched is not None and device_id not in watched:
                    continue
                log = logs.get(device_id)
                first_seq = readings[0].seq
                if log is None or log.first_seq + len(log.times) != first_seq or log.device_pk != entries.device_pk.int:
                    self.drop(device_id)
                    log = logs[device_id] = Log(entries.device_pk, first_seq)
                if not log.times:
                    log.since = moment
                    self.waiting[device_id] = log
                if not log.add(readings, columns, metrics):
                    self.urgent.add(device_id)
                self.readings += len(readings)
        self.arrived += arrived
        if self.readings > HELD_READINGS:
            self.logs, self.waiting, self.readings, self.incomplete = {}, {}, 0, True
        if len(self.logs) > len(self.waiting) + DEVICES:
            self.logs = dict(self.waiting)

    def drop(self, device_id: str) -> None:
        """Forgets the readings of a device, because others do not follow them."""
        self.logs.pop(device_id, None)
        log = self.waiting.pop(device_id, None)
        if log is not None:
            self.readings -= len(log.times)

    def due(self, *, moment: float) -> tuple[list[str], list[str]] | None:
        """The urgent devices, and others, the longest waiting first. None: all, because something is not here."""
        rate = self.arrived / max(moment - self.asked_at, 0.1)
        self.arrived, self.asked_at = 0, moment
        with self.lock:
            incomplete, self.incomplete = self.incomplete, False
        if incomplete:
            return None
        latest = moment - min(WAIT_SECONDS, rate / READINGS_PER_SECOND)
        if self.readings > HELD_READINGS / 2:
            latest = moment
        waited = takewhile(lambda device_id: self.waiting[device_id].since <= latest, self.waiting)
        return sorted(self.urgent), [device_id for device_id in waited if device_id not in self.urgent]

    def ends(self) -> dict[str, int]:
        """The position after the last reading of each device with readings."""
        return {device_id: log.end for device_id, log in self.waiting.items()}

    def compare(self, unjudged: Iterable[tuple[str, int, int]], *, ends: Mapping[str, int]) -> None:
        """Makes devices urgent whose unjudged readings are not all here, and forgets readings that need no judging.

        `unjudged`: device, position and end of each log that is not judged up to its end, read after `ends` and before
        the last `take`. The readings of other devices were judged by another process or from the log, or were erased.
        """
        behind = set()
        for device_id, after, last_seq in unjudged:
            behind.add(device_id)
            log = self.waiting.get(device_id)
            if log is None or after + 1 < log.first_seq or last_seq >= log.end:
                self.urgent.add(device_id)
        for device_id in ends.keys() - behind:
            log = self.waiting.get(device_id)
            if log is not None and log.end == ends[device_id]:
                self.drop(device_id)
                self.urgent.discard(device_id)

    def cut(self, part: Part) -> Part:
        """The beginning of the part that is here, or all of it if its beginning is not here."""
        log = self.log_of(part)
        return part if log is None or part.until < log.end else msgspec.structs.replace(part, until=log.end - 1)

    def series(self, part: Part) -> Series | None:
        """The values of this part; None if not all of its readings are here."""
        log = self.log_of(part)
        return None if log is None or part.until >= log.end else log.series(part)

    def log_of(self, part: Part) -> Log | None:
        """The log that has the first reading of the part."""
        log = self.waiting.get(part.device_id)
        if log is None or part.device_pk is None or log.device_pk != part.device_pk.int:
            return None
        return log if log.first_seq <= part.after + 1 < log.end else None

    def judged(self, part: Part, expected: Expected) -> None:
        """Forgets a part that was judged, and takes what brings no event from now on."""
        log = self.logs.get(part.device_id)
        if log is None and part.device_pk is not None:
            log = self.logs[part.device_id] = Log(part.device_pk, part.until + 1)
        if log is None or log.first_seq > part.until + 1:
            return
        log.expect(expected)
        count = len(log.times)
        if part.until + 1 < log.end:
            log.forget(part.until)
            self.readings -= count - len(log.times)
            return  # what is left may bring an event
        if count:
            log.forget(log.end - 1)
            self.readings -= count
            del self.waiting[part.device_id]
        log.first_seq = part.until + 1
        self.urgent.discard(part.device_id)

    def disturb(self, device_ids: Collection[str]) -> None:
        """Makes any value of these devices that was not judged yet count as one that may bring an event."""
        for device_id in device_ids:
            if device_id in self.logs:
                self.logs[device_id].until = EARLIEST
            if device_id in self.waiting:
                self.urgent.add(device_id)
