"""The positions of the evaluation in the logs: which readings are next, and moving on after they were judged."""

from collections.abc import Collection, Iterator, Sequence
from uuid import UUID

import msgspec
from django.db import connection
from django.db.models import F

from devices.database import placement
from readings.alarms.evaluation.active_rules import ActiveRules
from readings.alarms.evaluation.known import array
from readings.alarms.models import EvaluationState
from readings.upkeep.failures import Outrun
from readings.upkeep.passes import EVERY_ID, IdRange

# Maximum number of readings and devices per transaction. Less on SQLite, because ingest waits for it there.
STEP_READINGS = {"postgresql": 10_000, "sqlite": 2_000}
STEP_DEVICES = 5_000

Newest = dict[str, int]
decode_newest = msgspec.json.Decoder(Newest).decode


class Part(msgspec.Struct, frozen=True, gc=False):
    """The next readings of a device: `after < seq <= until`. `newest`: as `DeviceState.alarms_newest`, decoded.

    `device_pk`: the device's UUID; None where nobody asks for it.
    """

    device_id: str
    after: int
    until: int
    newest: Newest
    device_pk: UUID | None = None

    @property
    def length(self) -> int:
        return self.until - self.after


def behind(watched: Collection[str] | None, *, readings: int, ids: IdRange = EVERY_ID) -> list[Part]:
    """The next readings of each of the first STEP_DEVICES devices in `ids`, at most `readings` of a device.

    `watched`: only these devices; None: all.
    """
    conditions, parameters = ["state.alarms_seq < state.last_seq", "state.device_id > %s"], [ids.after]
    if ids.until is not None:
        conditions.append("state.device_id <= %s")
        parameters.append(ids.until)
    only(watched, conditions, parameters)
    with connection.cursor() as cursor:
        cursor.execute(
            f"{BEHIND} WHERE {' AND '.join(conditions)} ORDER BY state.device_id LIMIT {STEP_DEVICES}", parameters
        )
        return [
            Part(
                device_id,
                after,
                min(last_seq, after + readings),
                decode_newest(newest),
                pk if isinstance(pk, UUID) else UUID(pk),
            )
            for device_id, pk, after, last_seq, newest in cursor.fetchall()
        ]


def portions(parts: Sequence[Part], *, readings: int) -> Iterator[list[Part]]:
    """These parts in their order, in portions of at most so many `readings`, or of one part that has more."""
    portion: list[Part] = []
    room = readings
    for part in parts:
        if portion and part.length > room:
            yield portion
            portion, room = [], readings
        portion.append(part)
        room -= part.length
    if portion:
        yield portion


def unjudged(watched: Collection[str] | None) -> list[tuple[str, int, int]]:
    """Device, position and end of each log that was not judged up to its end; of these devices, None: of all."""
    conditions, parameters = ["state.alarms_seq < state.last_seq"], list[str]()
    only(watched, conditions, parameters)
    with connection.cursor() as cursor:
        cursor.execute(f"{UNJUDGED} WHERE {' AND '.join(conditions)}", parameters)
        return list(cursor.fetchall())


def waiting(watched: Collection[str] | None) -> int:
    """The number of readings that were not judged yet; of these devices, None: of all."""
    conditions, parameters = ["state.alarms_seq < state.last_seq"], list[str]()
    only(watched, conditions, parameters)
    with connection.cursor() as cursor:
        cursor.execute(f"{WAITING} WHERE {' AND '.join(conditions)}", parameters)
        return int(cursor.fetchone()[0])


def only(watched: Collection[str] | None, conditions: list[str], parameters: list[str]) -> None:
    """Adds the condition that the device is one of these; None: any."""
    if watched is not None:
        postgresql = connection.vendor == "postgresql"
        chosen = "json_array_elements_text(%s::json)" if postgresql else "json_each(%s)"
        conditions.append(f"state.device_id IN (SELECT {'*' if postgresql else 'value'} FROM {chosen})")
        parameters.append(msgspec.json.encode(sorted(watched)).decode())


BEHIND = """
SELECT state.device_id, device.id, state.alarms_seq, state.last_seq, state.alarms_newest
FROM devices_devicestate AS state JOIN devices_device AS device ON device.device_id = state.device_id
"""
UNJUDGED = "SELECT state.device_id, state.alarms_seq, state.last_seq FROM devices_devicestate AS state"
WAITING = "SELECT coalesce(sum(state.last_seq - state.alarms_seq), 0) FROM devices_devicestate AS state"
# Locks the rows in the order of their ids, as whoever appends to logs does, which prevents deadlocks.
ADVANCE = """
WITH moved AS (
    SELECT state.device_id, part.until, part.newest
    FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::text[]) AS part (device_id, after, until, newest)
    JOIN devices_devicestate AS state ON state.device_id = part.device_id AND state.alarms_seq = part.after{condition}
    ORDER BY state.device_id FOR NO KEY UPDATE OF state
)
UPDATE devices_devicestate AS state SET alarms_seq = moved.until, alarms_newest = moved.newest
FROM moved WHERE state.device_id = moved.device_id{condition}
"""
ADVANCE_SQLITE = (
    "UPDATE devices_devicestate SET alarms_seq = %s, alarms_newest = %s WHERE device_id = %s AND alarms_seq = %s"
)


def advance(parts: Sequence[Part]) -> None:
    """Moves the positions of these parts to their ends. Raises Outrun if a position has changed since it was read."""
    for group in placement.in_groups(parts):
        advance_group(group)


def advance_group(parts: Sequence[Part]) -> None:
    """`advance` for devices of one shard."""
    newest = [msgspec.json.encode(part.newest).decode() for part in parts]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            device_ids = array([part.device_id for part in parts])
            ends = array([part.after for part in parts]), array([part.until for part in parts])
            condition, more = placement.condition("state.device_id", [part.device_id for part in parts])
            values = [device_ids, *ends, array(newest)]
            cursor.execute(ADVANCE.format(condition=condition), [*values, *more, *more])
        else:
            rows = [(part.until, moved, part.device_id, part.after) for part, moved in zip(parts, newest, strict=True)]
            cursor.executemany(ADVANCE_SQLITE, rows)
        if cursor.rowcount != len(parts):
            raise Outrun


def skippable(rules: ActiveRules) -> list[Part]:
    """The readings that no rule judges, because they are older than every rule that applies to their device."""
    begun: dict[str, dict[int, int]] = {}
    positions: dict[str, tuple[int, str]] = {}
    # The state is also compared by its own id, so that a distributed database joins them on their node.
    of_state = {"device__state__device_id": F("device_id"), "after_seq__gt": F("device__state__alarms_seq")}
    found = EvaluationState.objects.filter(**of_state).values_list(
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
            parts.append(Part(device_id, position, until, decode_newest(newest)))
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
