"""The positions of the evaluation in the logs: which readings are next, and moving on after they were judged."""

from collections.abc import Collection, Sequence

import msgspec
from django.db import connection
from django.db.models import F

from devices.models import DeviceState
from readings.alarms.evaluation.active_rules import ActiveRules
from readings.alarms.models import EvaluationState
from readings.upkeep.passes import EVERY_ID, IdRange
from readings.upkeep.rollups import Outrun

# Maximum number of readings and devices per transaction. Less on SQLite, because ingest waits for it there.
STEP_READINGS = {"postgresql": 10_000, "sqlite": 2_000}
STEP_DEVICES = 5_000

Newest = dict[str, int]


class Part(msgspec.Struct, frozen=True, gc=False):
    """The next readings of a device: `after < seq <= until`. `newest`: as `DeviceState.alarms_newest`, decoded."""

    device_id: str
    after: int
    until: int
    newest: Newest

    @property
    def length(self) -> int:
        return self.until - self.after


def behind(watched: Collection[str] | None, *, readings: int, ids: IdRange = EVERY_ID) -> list[Part]:
    """The readings for one step: the next of each of the first devices in `ids`, at most `readings` in total.

    `watched`: only these devices; None: all. A device with more than `readings` is cut and gets a step of its own.
    """
    conditions, parameters = ["alarms_seq < last_seq", "device_id > %s"], [ids.after]
    if ids.until is not None:
        conditions.append("device_id <= %s")
        parameters.append(ids.until)
    if watched is not None:
        postgresql = connection.vendor == "postgresql"
        chosen = "json_array_elements_text(%s::json)" if postgresql else "json_each(%s)"
        value = "value" if not postgresql else "*"
        conditions.append(f"device_id IN (SELECT {value} FROM {chosen})")
        parameters.append(msgspec.json.encode(sorted(watched)).decode())
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT device_id, alarms_seq, last_seq, alarms_newest FROM devices_devicestate "
            f"WHERE {' AND '.join(conditions)} ORDER BY device_id LIMIT {STEP_DEVICES}",
            parameters,
        )
        parts: list[Part] = []
        room = readings
        for device_id, after, last_seq, newest in cursor.fetchall():
            part = Part(device_id, after, min(last_seq, after + readings), msgspec.json.decode(newest, type=Newest))
            room -= part.length
            if room < 0 and parts:
                break
            parts.append(part)
        return parts


def advance(parts: Sequence[Part]) -> None:
    """Moves the positions of these parts to their ends. Raises Outrun if a position has changed since it was read."""
    DeviceState.objects.lock([part.device_id for part in parts])
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(ADVANCE, [msgspec.json.encode(parts).decode()])
        else:
            rows = [
                (part.until, msgspec.json.encode(part.newest).decode(), part.device_id, part.after) for part in parts
            ]
            cursor.executemany(ADVANCE_SQLITE, rows)
        if cursor.rowcount != len(parts):
            raise Outrun


ADVANCE = """
UPDATE devices_devicestate AS state SET alarms_seq = part.until, alarms_newest = part.newest
FROM json_to_recordset(%s::json) AS part (device_id text, after bigint, until bigint, newest text)
WHERE state.device_id = part.device_id AND state.alarms_seq = part.after
"""
ADVANCE_SQLITE = (
    "UPDATE devices_devicestate SET alarms_seq = %s, alarms_newest = %s WHERE device_id = %s AND alarms_seq = %s"
)


def skippable(rules: ActiveRules) -> list[Part]:
    """The readings that no rule judges, because they are older than every rule that applies to their device."""
    begun: dict[str, dict[int, int]] = {}
    positions: dict[str, tuple[int, str]] = {}
    found = EvaluationState.objects.filter(after_seq__gt=F("device__state__alarms_seq")).values_list(
        "rule_id", "device_id", "after_seq", "device__state__alarms_seq", "device__state__alarms_newest"
    )
    for rule_id, device_pk, after_seq, position, newest in found:
        device_id = str(device_pk)
        begun.setdefault(device_id, {})[rule_id] = after_seq
        positions[device_id] = position, newest
    parts = []
    for device_id, starts in sorted(begun.items()):
        applying = [active.rule.pk for active in rules.of_device(device_id)]
        if applying and all(rule_id in starts for rule_id in applying):
            position, newest = positions[device_id]
            until = min(starts[rule_id] for rule_id in applying)
            parts.append(Part(device_id, position, until, msgspec.json.decode(newest, type=Newest)))
    return parts


def forget_beginnings(limit: int) -> int:
    """Deletes states that only say where a rule began, in logs that are judged up to there; returns their number."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET, [limit])
        return int(cursor.rowcount)


FORGET = """
DELETE FROM alarms_evaluationstate WHERE (rule_id, device_id) IN (
    SELECT own.rule_id, own.device_id FROM alarms_evaluationstate AS own
    JOIN devices_devicestate AS state ON state.device_id = own.device_id
    WHERE own.state = '{}' AND own.heard_at IS NULL AND own.after_seq <= state.alarms_seq
    LIMIT %s
)
"""
