"""The hot rows: each device's position in its log, locked and moved on by the write path, one statement each.

Written in SQL: for a thousand devices the ORM takes longer than the database.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from django.db import connections, models

from devices.status import FUTURE_TOLERANCE

if TYPE_CHECKING:
    from devices.models import DeviceState  # noqa: F401  named in the base class

# In the order of the ids, always, so no deadlock. FOR NO KEY UPDATE lets readings refer to the device meanwhile.
LOCK = """
SELECT state.device_id, device.id, device.is_active, state.last_seq
FROM devices_devicestate AS state JOIN devices_device AS device ON device.device_id = state.device_id
WHERE state.device_id = ANY(ARRAY(SELECT json_array_elements_text(%s::json)))
ORDER BY state.device_id
FOR NO KEY UPDATE OF state
"""
# SQLite has no row locks and needs none: BEGIN IMMEDIATE has made this transaction the only writer.
LOCK_SQLITE = """
SELECT state.device_id, device.id, device.is_active, state.last_seq
FROM devices_devicestate AS state JOIN devices_device AS device ON device.device_id = state.device_id
WHERE state.device_id IN (SELECT value FROM json_each(%s))
"""
ADVANCE = """
UPDATE devices_devicestate AS state
SET last_seq = new.last_seq,
    last_seen_at = greatest(CASE WHEN state.last_seen_at < %s THEN state.last_seen_at END, %s::timestamptz),
    latest_seq = CASE WHEN new.latest_at >= coalesce(state.latest_at, '-infinity')
                      THEN new.latest_seq ELSE state.latest_seq END,
    latest_at = greatest(state.latest_at, new.latest_at)
FROM json_to_recordset(%s::json) AS new (device_id text, last_seq bigint, latest_seq bigint, latest_at timestamptz)
WHERE state.device_id = new.device_id
"""
# Times are text that sorts as they do.
ADVANCE_SQLITE = """
UPDATE devices_devicestate
SET last_seq = %s,
    last_seen_at = nullif(max(CASE WHEN last_seen_at < %s THEN last_seen_at ELSE '' END, coalesce(%s, '')), ''),
    latest_seq = CASE WHEN %s >= coalesce(latest_at, '') THEN %s ELSE latest_seq END,
    latest_at = CASE WHEN %s >= coalesce(latest_at, '') THEN %s ELSE latest_at END
WHERE device_id = %s
"""
NEVER_REACHED = datetime(9999, 12, 31, tzinfo=UTC)


class LogEnd(msgspec.Struct, gc=False):
    """Where a device's log ends, while the row that says so is locked. `device_pk` is the device's UUID."""

    device_id: str
    device_pk: UUID
    is_active: bool
    last_seq: int


class Advance(msgspec.Struct, frozen=True, gc=False):
    """What a device's state moves on to: `latest_*` of the newest by its own time of what was stored, if anything."""

    device_id: str
    last_seq: int
    latest_seq: int | None
    latest_at: datetime | None


class DeviceStateManager(models.Manager["DeviceState"]):
    """Takes the devices by their ids: on a QuerySet these methods would ignore its filters."""

    def lock(self, device_ids: Collection[str]) -> dict[str, LogEnd]:
        """Where these devices' logs end; nobody else can append to them until the transaction ends."""
        connection = connections[self.db]
        with connection.cursor() as cursor:
            statement = LOCK if connection.vendor == "postgresql" else LOCK_SQLITE
            cursor.execute(statement, [msgspec.json.encode(list(device_ids)).decode()])
            return {
                device_id: LogEnd(device_id, pk if isinstance(pk, UUID) else UUID(pk), bool(is_active), last_seq)
                for device_id, pk, is_active, last_seq in cursor.fetchall()
            }

    def advance(self, advances: Collection[Advance], *, seen_at: datetime | None) -> None:
        """Moves locked states on; `last_seen_at` and the newest reading only forward.

        But where `last_seen_at` is further in the future than clocks may differ, a wrong clock has set it, and
        `seen_at` replaces it. `seen_at` is None where the device itself was not heard from.
        """
        if not advances:
            return
        until = seen_at + FUTURE_TOLERANCE if seen_at else NEVER_REACHED
        connection = connections[self.db]
        moment = connection.ops.adapt_datetimefield_value
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(ADVANCE, [until, seen_at, msgspec.json.encode(list(advances)).decode()])
                return
            seen, before = moment(seen_at), moment(until)
            rows = []
            for a in advances:
                at = moment(a.latest_at)
                rows.append((a.last_seq, before, seen, at, a.latest_seq, at, at, a.device_id))
            cursor.executemany(ADVANCE_SQLITE, rows)
