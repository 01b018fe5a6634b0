"""Evaluates everything that is new, in steps, one process at a time."""

import logging
import math
import time
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from threading import Event

import msgspec
from django.db import connection

from devices.plurals import counted
from readings.alarms import instruments
from readings.alarms.delivery.gathering import end_evaluation
from readings.alarms.evaluation import silences
from readings.alarms.evaluation.active_rules import ActiveRule, ActiveRules, current_version, load_rules
from readings.alarms.evaluation.outcomes import Outcome
from readings.alarms.evaluation.positions import (
    STEP_READINGS,
    Part,
    behind,
    forget_beginnings,
    portions,
    skippable,
    unjudged,
)
from readings.alarms.evaluation.received import Received
from readings.alarms.evaluation.steps import take_step
from readings.alarms.models import Alarm, Reason
from readings.alarms.signals import AlarmChange, announce
from readings.upkeep.failures import FailureLog, Outrun, each_apart
from readings.upkeep.locks import exclusively
from readings.upkeep.passes import EVERY_ID, IdRange, Pace, Rotation

logger = logging.getLogger(__name__)

# How long a device for which a step failed is left out, in seconds.
ASIDE_SECONDS = 60.0
# Devices in one step, positions that are moved, and alarms of deactivated devices that are resolved, in a transaction.
CHUNK = 1_000
# Time in an evaluation for devices whose readings surely bring no event, so that the next urgent ones do not wait long.
OTHERS_SECONDS = 0.5


class Evaluation(msgspec.Struct):
    """The result of one evaluation. `failed`: devices whose step failed. `unfinished`: the time limit was reached.

    `complete`: it judged all new readings, not only those that may have an event.
    """

    readings: int = 0
    opened: int = 0
    resolved: int = 0
    failed: int = 0
    unfinished: bool = False
    complete: bool = True

    def __str__(self) -> str:
        failed = f", {counted(self.failed, 'device', 'devices')} failed" if self.failed else ""
        judged, opened = counted(self.readings, "reading", "readings"), counted(self.opened, "alarm", "alarms")
        return f"{judged} judged, {opened} opened, {self.resolved:,} resolved{failed}."


class Evaluator:
    """State of a process between evaluations: the rules, where the next pass begins, and what failed.

    `received`: the readings that this process stores; None: it stores none, or the evaluation does not hear of them.
    `look_share`: the part of the time for looking which devices were deactivated or are silent for too long.
    """

    def __init__(self, received: Received | None = None, *, look_share: float = 1.0) -> None:
        self.received = received
        self.looks = Pace(look_share)
        self.rules: ActiveRules | None = None
        self.skipped_version: int | None = None
        self.rotation = Rotation()
        self.aside: dict[str, float] = {}  # by device id, until when (time.monotonic)
        self.failures = FailureLog(logger)
        self.done = Evaluation()

    def evaluate(self, *, now: datetime, stop: Event | None = None, seconds: float | None = None) -> Evaluation:
        """Judges new readings, then silences, for at most about `seconds`. The next evaluation continues.

        Of the readings that were `received`, those that surely bring no event may wait for a later evaluation.
        Without active rules this is one query. A step that meets a change of the rules is taken again. Raises Busy if
        another process evaluates, and DatabaseError if the whole database is concerned; what was stored stays.
        """
        self.done = Evaluation()
        started = time.monotonic()
        # Once, because a step that meets a change of the rules stores nothing.
        rules = self.refreshed()
        if not rules.rules and self.skipped_version == rules.version:
            return self.done
        finished = False
        with exclusively("alarms"):
            try:
                for changes in self.steps(rules, now=now):
                    self.count(changes)
                    announce(changes)
                    if stop and stop.is_set():
                        break
                    if seconds is not None and time.monotonic() - started > seconds:
                        self.done.unfinished = True
                        break
                else:
                    finished = not self.done.unfinished
            finally:
                if self.received and self.done.complete and not finished:
                    self.received.incomplete = True
                if self.done.opened or self.done.resolved:
                    end_evaluation()
        instruments.JUDGED.inc(self.done.readings)
        instruments.EVALUATED.set_to_current_time()
        return self.done

    def refreshed(self) -> ActiveRules:
        """The active rules, loaded again if they have changed."""
        if self.rules is None or self.rules.version != current_version():
            before, self.rules = self.rules, load_rules()
            if self.received and before and self.rules.need_no_more_than(before):
                self.received.doubt(self.rules.metrics)
            elif self.received:
                self.received.want(bool(self.rules.of_readings))
        return self.rules

    def forget(self) -> None:
        """Forgets rules and readings, because another process evaluates."""
        self.rules = None
        if self.received:
            self.received.want(False)

    def steps(self, rules: ActiveRules, *, now: datetime) -> Iterator[list[AlarmChange]]:
        """Each step is at most one transaction. A change of the rules ends this; the next evaluation continues."""
        try:
            yield from self.skip(rules, now=now)
            due = self.due(rules, now=now)
            self.done.complete = due is None
            if due is None:
                yield from self.catch_up(rules, now=now)
            else:
                urgent, others = due
                yield from self.catch_up(rules, now=now, chosen=urgent, quiet_wait=True)
                yield from self.catch_up(rules, now=now, chosen=others, until=time.monotonic() + OTHERS_SECONDS)
            began = time.monotonic()
            if not self.looks.is_due(began):
                yield from silences.heard_again(rules, now=now)
                return
            yield from self.deactivated(rules, now=now)
            judged = None
            if due is not None and self.received:
                judged = sorted(silences.suspects(rules, now=now, heard=self.received.heard))
                yield from self.catch_up(rules, now=now, chosen=judged, wholly=True)
            yield from silences.look(rules, now=now, judged=judged)
            if self.received:
                self.received.disturb(silences.silent_devices(rules))
            self.looks.took(began, time.monotonic())
        except Outrun:
            self.done.unfinished = True

    def due(self, rules: ActiveRules, *, now: datetime) -> tuple[list[str], list[str]] | None:
        """The devices whose readings are judged now, and those for which there may be time. None: all devices."""
        if not self.received or not rules.of_readings:
            return None
        moment = time.monotonic()
        if self.received.comparisons.is_due(moment) and not self.received.incomplete:
            self.compare(self.received, rules, now=now, moment=moment)
        else:
            self.received.take(metrics=rules.metrics, watched=rules.watched, now=now, moment=moment)
        return self.received.due(moment=moment)

    def compare(self, received: Received, rules: ActiveRules, *, now: datetime, moment: float) -> None:
        """Takes what was received, and finds the devices with readings that another process has stored."""
        ends, found = received.ends(), unjudged(rules.watched)
        received.take(metrics=rules.metrics, watched=rules.watched, now=now, moment=moment)
        received.compare(found, ends=ends)
        received.comparisons.took(moment, time.monotonic())

    def skip(self, rules: ActiveRules, *, now: datetime) -> Iterator[list[AlarmChange]]:
        """Once for each version of the rules: moves the positions over readings that no rule judges."""
        if self.skipped_version == rules.version:
            return
        parts = skippable(rules)
        for first in range(0, len(parts), CHUNK):
            yield Outcome({}, now=now).store(rules, parts[first : first + CHUNK])
        while forget_beginnings(CHUNK):
            yield []
        self.skipped_version = rules.version

    def catch_up(
        self,
        rules: ActiveRules,
        *,
        now: datetime,
        chosen: Sequence[str] | None = None,
        until: float = math.inf,
        wholly: bool = False,
        quiet_wait: bool = False,
    ) -> Iterator[list[AlarmChange]]:
        """Judges the new readings of these devices, in their order; None: of all, in passes, until none is left.

        `until`: when it stops (time.monotonic), though not before some of the `chosen` devices. Of one of these it
        judges at most STEP_READINGS, with `wholly` all. `quiet_wait`: as for `take_step`.
        """
        if not rules.of_readings:
            return
        self.forget_failures()
        if chosen is not None:
            while chosen:
                cut: list[str] = []
                for first in range(0, len(chosen), CHUNK):
                    devices = chosen[first : first + CHUNK]
                    for parts in self.next_parts(devices, EVERY_ID):
                        yield self.judge(rules, parts, now=now, quiet_wait=quiet_wait)
                        cut += self.may_go_on(parts)
                    if time.monotonic() >= until:
                        return
                chosen = cut if wholly else ()
            return
        more = True
        while more:
            more = False
            for ids in self.rotation.ranges():
                for parts in self.next_parts(rules.watched, ids):
                    self.rotation.position = parts[-1].device_id
                    yield self.judge(rules, parts, now=now)
                    more = more or bool(self.may_go_on(parts))

    def may_go_on(self, parts: Sequence[Part]) -> list[str]:
        """The devices that may have more readings than these, which were judged; without those that failed."""
        share = STEP_READINGS[connection.vendor]
        return [part.device_id for part in parts if part.length >= share and part.device_id not in self.aside]

    def next_parts(self, watched: Collection[str] | None, ids: IdRange) -> Iterator[list[Part]]:
        """The new readings of the devices in this range, in portions for one step each. A device is in one of them."""
        readings = STEP_READINGS[connection.vendor]
        while parts := behind(watched, readings=readings, ids=ids):
            yield from portions(parts, readings=readings)
            ids = IdRange(parts[-1].device_id, ids.until)

    def judge(
        self, rules: ActiveRules, parts: Sequence[Part], *, now: datetime, quiet_wait: bool = False
    ) -> list[AlarmChange]:
        """Judges these parts, except those of devices that failed before; returns the changes to announce."""
        wanted = [part for part in parts if part.device_id not in self.aside]
        if self.received:
            wanted = [self.received.cut(part) for part in wanted]
        changes: list[AlarmChange] = []

        def work(some: Sequence[Part]) -> None:
            step = take_step(
                rules, some, now=now, failed=self.rule_failed, received=self.received, quiet_wait=quiet_wait
            )
            changes.extend(step.changes)
            self.done.readings += step.readings

        if wanted:
            each_apart(wanted, work, self.device_failed)
        if self.received:
            self.received.take(metrics=rules.metrics, watched=rules.watched, now=now, moment=time.monotonic())
        return changes

    def deactivated(self, rules: ActiveRules, *, now: datetime) -> Iterator[list[AlarmChange]]:
        """Resolves the open alarms of devices that were deactivated."""
        while alarms := list(
            Alarm.objects.open().filter(device__is_active=False).select_related("rule", "device").order_by("id")[:CHUNK]
        ):
            outcome = Outcome({(alarm.rule_id, alarm.device_id): alarm for alarm in alarms}, now=now)
            for alarm in alarms:
                outcome.end(alarm, Reason.DEVICE_DEACTIVATED)
            yield outcome.store(rules)

    def device_failed(self, part: Part, error: Exception) -> None:
        if isinstance(error, Outrun):
            raise error
        what = f"Judging alarms failed for device {part.device_id}. It is tried again every {ASIDE_SECONDS:.0f} s"
        self.failures.write(what, error)
        self.aside[part.device_id] = time.monotonic() + ASIDE_SECONDS
        self.done.failed += 1
        instruments.FAILED_DEVICES.inc()

    def rule_failed(self, active: ActiveRule, device_id: str, error: Exception) -> None:
        what = f"Rule {active.rule.pk} ({active.rule.kind}) could not judge readings of a device and left them out"
        self.failures.write(what, error)
        instruments.FAILED_RULES.inc()

    def forget_failures(self) -> None:
        now = time.monotonic()
        self.aside = {device_id: until for device_id, until in self.aside.items() if until > now}

    def count(self, changes: Sequence[AlarmChange]) -> None:
        opened = sum(change.event == "opened" for change in changes)
        self.done.opened += opened
        self.done.resolved += len(changes) - opened
        instruments.OPENED.inc(opened)
        instruments.RESOLVED.inc(len(changes) - opened)
