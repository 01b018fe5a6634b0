"""Readings that this process has stored and that were not judged yet, so that an evaluation need not read them back.

They only save work. Which readings are judged next is decided by the positions in the database, and what is missing
here is read from the log. Also finds the devices whose new readings may open or resolve an alarm. The others may wait,
because a step that brings no event can be taken later with the same result.
"""

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime

import msgspec

from readings.alarms.evaluation.positions import Part
from readings.alarms.evaluation.received_log import Expected, Log, first_bounds
from readings.alarms.evaluation.samples import Series
from readings.log.entries import Appended
from readings.upkeep.passes import Pace
from readings.windows import EARLIEST

# Readings that surely bring no event wait, because the more readings of a device are stored as judged at once, the less
# each costs. They wait for WAIT_SECONDS, or until no reading has arrived for IDLE_SECONDS. If there are more than
# FULL_READINGS, those that have waited longest wait no longer.
WAIT_SECONDS = 600.0
IDLE_SECONDS = 10.0
FULL_READINGS = 1_000_000
# Maximum number of readings that wait: 8 to 56 bytes for the time and 8 for each metric that rules judge.
HELD_READINGS = 1_500_000
# Maximum number of readings that were not taken yet, of about 350 bytes each, and of those that were and are not in
# columns yet.
INBOX_READINGS = 50_000
ROWS = 100_000
# Maximum number of devices that are remembered without readings, with about a kilobyte each.
DEVICES = 50_000
# Comparisons of what was received with the positions of all logs: the shortest time between two, and the part of the
# time for them while other processes store readings, and otherwise.
COMPARE_SECONDS = 2.0
COMPARE_SHARE = 1 / 50
COMPARE_SHARE_ALONE = 1 / 200
# A device with at most so many readings may be looked at without storing that they were judged. With more, what was
# judged is stored, so that no reading is judged again and again.
LOOK_READINGS = 32


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
        # Those of them that are not in columns yet, or more.
        self.rows = 0
        # The devices whose readings may bring an event, and those for which every reading does.
        self.urgent: set[str] = set()
        self.disturbed: frozenset[str] = frozenset()
        # The metrics that rules judge.
        self.metrics: AbstractSet[str] = frozenset()
        # Whether readings have arrived since `due` was called, and when they had (time.monotonic).
        self.arrived = False
        self.arrived_at = 0.0
        self.comparisons = Pace(COMPARE_SHARE, seconds=COMPARE_SECONDS)

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

    def doubt(self, metrics: AbstractSet[str]) -> None:
        """Makes all devices urgent, because other rules judge these metrics, all of which were judged before."""
        self.metrics = metrics
        for log in self.logs.values():
            log.doubt(metrics)
        self.urgent.update(self.waiting)

    def want(self, wanted: bool) -> None:
        """Forgets everything: other rules judge other metrics or devices."""
        with self.lock:
            self.inbox, self.inbox_readings, self.incomplete = [], 0, True
            self.wanted = wanted
        self.logs, self.waiting, self.readings, self.rows = {}, {}, 0, 0
        self.urgent.clear()
        self.disturbed, self.metrics = frozenset(), frozenset()

    def take(self, *, metrics: AbstractSet[str], watched: Collection[str] | None, now: datetime, moment: float) -> None:
        """Adds what arrived to the logs, and notes urgent devices.

        `metrics`: those that rules judge, always the same until `want` or `doubt`. `watched`: only these devices; None:
        all. `moment`: time.monotonic.
        """
        with self.lock:
            inbox = self.inbox
            self.inbox, self.inbox_readings = [], 0
        logs, added, bounds, self.metrics = self.logs, 0, first_bounds(metrics), metrics
        for appended in inbox:
            for entries in appended:
                device_id, readings = entries.device_id, entries.readings
                if watched is not None and device_id not in watched:
                    continue
                log = logs.get(device_id)
                if log is None or log.end != readings[0].seq or log.device_pk != entries.device_pk.int:
                    self.drop(device_id)
                    log = logs[device_id] = Log(entries.device_pk, readings[0].seq, bounds)
                if log.end == log.first_seq:
                    log.since = moment
                    self.waiting[device_id] = log
                if moment >= log.mark_at:
                    log.arrive(now=now, moment=moment)
                if not log.add(readings, metrics):
                    self.urgent.add(device_id)
                added += len(readings)
        self.arrived = self.arrived or bool(inbox)
        self.readings += added
        self.rows += added
        if self.rows > ROWS:
            for log in self.waiting.values():
                if log.rows:
                    log.unpack(metrics)
            self.rows = 0
        if self.readings > HELD_READINGS:
            self.logs, self.waiting, self.readings, self.rows, self.incomplete = {}, {}, 0, 0, True
        if len(self.logs) > len(self.waiting) + DEVICES:
            self.logs = dict(self.waiting)

    def drop(self, device_id: str) -> None:
        """Forgets the readings of a device, because others do not follow them."""
        self.logs.pop(device_id, None)
        log = self.waiting.pop(device_id, None)
        if log is not None:
            self.readings -= log.end - log.first_seq

    def due(self, *, moment: float) -> tuple[list[str], list[str]] | None:
        """The urgent devices, and others, the longest waiting first. None: all, because something is not here."""
        if self.arrived:
            self.arrived, self.arrived_at = False, moment
        with self.lock:
            incomplete, self.incomplete = self.incomplete, False
        if incomplete:
            self.comparisons = Pace(COMPARE_SHARE, seconds=COMPARE_SECONDS)  # the next one in the next evaluation
            return None
        latest = moment - (WAIT_SECONDS if moment - self.arrived_at < IDLE_SECONDS else 0.0)
        excess, others = self.readings - FULL_READINGS, list[str]()
        for device_id, log in self.waiting.items():
            if log.since > latest and excess <= 0:
                break
            excess -= log.end - log.first_seq
            if device_id not in self.urgent:
                others.append(device_id)
        return sorted(self.urgent), others

    def ends(self) -> dict[str, int]:
        """The position after the last reading of each device with readings."""
        return {device_id: log.end for device_id, log in self.waiting.items()}

    def compare(self, unjudged: Iterable[tuple[str, int, int]], *, ends: Mapping[str, int]) -> None:
        """Makes devices urgent whose unjudged readings are not all here, and forgets readings that need no judging.

        `unjudged`: device, position and end of each log that is not judged up to its end, read after `ends` and before
        the last `take`. The readings of other devices were judged by another process or from the log, or were erased.
        """
        behind, alone = set[str](), True
        for device_id, after, last_seq in unjudged:
            behind.add(device_id)
            log = self.waiting.get(device_id)
            if log is None or after + 1 < log.first_seq or last_seq >= log.end:
                self.urgent.add(device_id)
                alone = False
        for device_id in ends.keys() - behind:
            log = self.waiting.get(device_id)
            if log is not None and log.end == ends[device_id]:
                self.drop(device_id)
                self.urgent.discard(device_id)
                alone = False
        self.comparisons.share = COMPARE_SHARE_ALONE if alone else COMPARE_SHARE

    def cut(self, part: Part) -> Part:
        """The beginning of the part that is here, or all of it if its beginning is not here."""
        log = self.log_of(part)
        return part if log is None or part.until < log.end else msgspec.structs.replace(part, until=log.end - 1)

    def series(self, part: Part) -> Series | None:
        """The values of this part; None if not all of its readings are here."""
        log = self.log_of(part)
        return None if log is None or part.until >= log.end else log.series(part, self.metrics)

    def log_of(self, part: Part) -> Log | None:
        """The log that has the first reading of the part."""
        log = self.waiting.get(part.device_id)
        if log is None or part.device_pk is None or log.device_pk != part.device_pk.int:
            return None
        return log if log.first_seq <= part.after + 1 < log.end else None

    def may_wait(self, part: Part) -> bool:
        """Whether this part, if it brings no event, can be judged again later, because all of it is here."""
        if part.device_id in self.disturbed or part.length > LOOK_READINGS:
            return False
        log = self.log_of(part)
        return log is not None and part.until < log.end

    def looked_at(self, part: Part, expected: Expected) -> None:
        """Takes what brings no event after a part that brought none and waits."""
        log = self.logs[part.device_id]
        log.expect(expected)
        if part.until + 1 == log.end:
            self.urgent.discard(part.device_id)

    def judged(self, part: Part, expected: Expected) -> None:
        """Forgets a part that was stored as judged, and takes what brings no event from now on."""
        log = self.logs.get(part.device_id)
        if log is None and part.device_pk is not None:
            log = self.logs[part.device_id] = Log(part.device_pk, part.until + 1, first_bounds(self.metrics))
        if log is None or log.first_seq > part.until + 1:
            return
        log.expect(expected)
        if part.device_id in self.disturbed:
            log.until = EARLIEST
        before = log.end - log.first_seq
        log.forget(part.until, self.metrics)
        self.readings -= before - (log.end - log.first_seq)
        if log.end > log.first_seq:
            # What is left was calm by what was expected before, and what follows is compared with what is expected now.
            self.urgent.add(part.device_id)
            return
        self.waiting.pop(part.device_id, None)
        self.urgent.discard(part.device_id)

    def heard(self, device_id: str, metric: str) -> datetime | None:
        """When the last reading that waits and has this metric has arrived, as `Log.arrived`; None: none waits."""
        log = self.waiting.get(device_id)
        return None if log is None else log.heard(metric, self.metrics)

    def disturb(self, device_ids: Collection[str]) -> None:
        """Makes any value of these devices that was not judged yet count as one that may bring an event."""
        self.disturbed = frozenset(device_ids)
        for device_id in device_ids:
            if device_id in self.logs:
                self.logs[device_id].until = EARLIEST
            if device_id in self.waiting:
                self.urgent.add(device_id)
