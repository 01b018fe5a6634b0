"""Collects what a step found out, and stores it in one transaction."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from django.db import connection, transaction

from devices.models import Device
from readings.alarms.conditions.states import Event, Opened
from readings.alarms.delivery.gathering import Notices
from readings.alarms.evaluation.active_rules import ActiveRule, ActiveRules
from readings.alarms.evaluation.known import Pair, Written, forget_known, write_known
from readings.alarms.evaluation.positions import Part, advance
from readings.alarms.models import Alarm, Kind, Reason, RuleSet
from readings.alarms.signals import AlarmChange, Happening, change_of
from readings.upkeep.failures import Outrun
from readings.upkeep.rollups import limit_lock_wait

LATE_AFTER = timedelta(seconds=60)


class Changed(msgspec.Struct, frozen=True):
    """The columns of an open alarm that the evaluation may change."""

    id: UUID
    resolved_at: datetime | None
    reason: str
    worst: float | None


# In SQL, because the ORM takes longer than the database for a thousand rows.
CHANGE = """
UPDATE alarms_alarm AS alarm SET resolved_at = new.resolved_at, reason = new.reason, worst = new.worst
FROM json_to_recordset(%s::json) AS new (id uuid, resolved_at timestamptz, reason text, worst float8)
WHERE alarm.id = new.id
"""
CHANGE_SQLITE = "UPDATE alarms_alarm SET resolved_at = %s, reason = %s, worst = %s WHERE id = %s"


def open_alarms(pairs: Iterable[Pair]) -> dict[Pair, Alarm]:
    """The open alarms of these rules about these devices."""
    wanted = set(pairs)
    if not wanted:
        return {}
    found = Alarm.objects.open().filter(
        rule_id__in={rule_id for rule_id, _ in wanted}, device_id__in={device_id for _, device_id in wanted}
    )
    return {pair: alarm for alarm in found if (pair := (alarm.rule_id, alarm.device_id)) in wanted}


class Outcome:
    """The changes of one step, in memory until `store`. `alarms`: the open alarms that events may be about."""

    def __init__(self, alarms: dict[Pair, Alarm], *, now: datetime) -> None:
        self.now = now
        self.open = alarms
        self.changed: dict[Pair, Alarm] = {}
        self.created: dict[UUID, Alarm] = {}
        self.happened: list[tuple[Happening, Alarm]] = []
        self.written: list[Written] = []
        self.deleted: list[Pair] = []

    def apply(self, active: ActiveRule, device_id: str, events: Sequence[Event]) -> None:
        pair = active.rule.pk, device_id
        for event in events:
            if isinstance(event, Opened):
                alarm = Alarm(
                    rule=active.rule,
                    device_id=device_id,
                    metric=active.rule.metric,
                    began_at=event.began_at,
                    opened_at=event.opened_at,
                    noticed_at=self.now,
                    value=event.value,
                    worst=event.value,
                    late=self.now - event.opened_at > LATE_AFTER,
                )
                self.open[pair] = alarm
                self.created[alarm.pk] = alarm
                self.happened.append(("opened", alarm))
            elif ended := self.open.pop(pair, None):
                ended.resolve(event.resolved_at, Reason.CLEARED)
                self.note(pair, ended)
                self.happened.append(("resolved", ended))

    def end(self, alarm: Alarm, reason: Reason) -> None:
        """Resolves an open alarm that is no longer judged, and forgets what the rule knew of the device."""
        pair = alarm.rule_id, alarm.device_id
        alarm.resolve(self.now, reason)
        self.note(pair, alarm)
        self.happened.append(("resolved", alarm))
        if alarm.rule.kind != Kind.SILENCE:  # whose state, when a metric was last read, stays true
            self.deleted.append(pair)

    def worsen(self, pair: Pair, worst: float) -> None:
        """Sets the worst value of an open alarm."""
        alarm = self.open.get(pair)
        if alarm is not None and alarm.worst != worst:
            alarm.worst = worst
            self.note(pair, alarm)

    def note(self, pair: Pair, alarm: Alarm) -> None:
        if alarm.pk not in self.created:
            self.changed[pair] = alarm

    def store(self, rules: ActiveRules, parts: Sequence[Part] = ()) -> list[AlarmChange]:
        """Stores everything and moves the positions of `parts`; returns the changes to announce.

        Raises Outrun if the rules or a position have changed since they were read, and DatabaseError. After either,
        nothing was stored.
        """
        with transaction.atomic(durable=True):
            limit_lock_wait()
            version = RuleSet.objects.select_for_update().values_list("version", flat=True).first() or 0
            if version != rules.version:
                raise Outrun
            notices = Notices(self.happened, now=self.now, in_evaluation=True)
            # Before the inserts, because only one alarm of a rule and device may be open.
            self.store_changed()
            Alarm.objects.bulk_create(self.created.values(), batch_size=500)
            notices.write()
            forget_known(self.deleted)
            write_known(self.written)
            if parts:
                advance(parts)
        return self.changes()

    def store_changed(self) -> None:
        if not self.changed:
            return
        rows = [Changed(alarm.pk, alarm.resolved_at, str(alarm.reason), alarm.worst) for alarm in self.changed.values()]
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(CHANGE, [msgspec.json.encode(rows).decode()])
            else:
                moment = connection.ops.adapt_datetimefield_value
                cursor.executemany(
                    CHANGE_SQLITE, [(moment(row.resolved_at), row.reason, row.worst, row.id.hex) for row in rows]
                )

    def changes(self) -> list[AlarmChange]:
        devices = Device.objects.in_bulk({alarm.device_id for _, alarm in self.happened}, field_name="device_id")
        changes = []
        for event, alarm in self.happened:
            alarm.device = devices[alarm.device_id]
            changes.append(change_of(event, alarm))
        return changes
