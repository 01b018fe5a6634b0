"""The hot rows: each device's position in its log, locked and moved on by the write path, one statement each.

Written in SQL: for a thousand devices the ORM takes longer than the database.
"""

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from django.db import connections, models

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
# The access version is read as late as possible, because the revocations that it counts are those committed before.
ADVANCE = """
WITH advanced AS (
UPDATE devices_devicestate AS state
SET last_seq = new.last_seq,
    last_seen_at = greatest(state.last_seen_at, %s::timestamptz),
    latest_seq = CASE WHEN new.latest_at >= coalesce(state.latest_at, '-infinity')
                      THEN new.latest_seq ELSE state.latest_seq END,
    latest_at = greatest(state.latest_at, new.latest_at)
FROM json_to_recordset(%s::json) AS new (device_id text, last_seq bigint, latest_seq bigint, latest_at timestamptz)
WHERE state.device_id = new.device_id
)
SELECT version FROM devices_accessversion
"""
# Times are text that sorts as they do.
ADVANCE_SQLITE = """
UPDATE devices_devicestate
SET last_seq = %s,
    last_seen_at = nullif(max(coalesce(last_seen_at, ''), coalesce(%s, '')), ''),
    latest_seq = CASE WHEN %s >= coalesce(latest_at, '') THEN %s ELSE latest_seq END,
    latest_at = CASE WHEN %s >= coalesce(latest_at, '') THEN %s ELSE latest_at END
WHERE device_id = %s
"""
ACCESS_VERSION_SQLITE = "SELECT version FROM devices_accessversion"


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


class DeviceStateQuerySet(models.QuerySet["DeviceState"]):
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

    def advance(self, advances: Collection[Advance], *, seen_at: datetime | None) -> int:
        """Moves locked states on; `last_seen_at` and the newest reading only ever forward.

        `seen_at` is None where the device itself was not heard from. Returns the `AccessVersion` of the moment; 0
        where there is nothing to move.
        """
        if not advances:
            return 0
        connection = connections[self.db]
        moment = connection.ops.adapt_datetimefield_value
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(ADVANCE, [seen_at, msgspec.json.encode(list(advances)).decode()])
                return version_in(cursor.fetchone())
            seen = moment(seen_at)
            rows = []
            for a in advances:
                at = moment(a.latest_at)
                rows.append((a.last_seq, seen, at, a.latest_seq, at, at, a.device_id))
            cursor.executemany(ADVANCE_SQLITE, rows)
            cursor.execute(ACCESS_VERSION_SQLITE)
            return version_in(cursor.fetchone())


def version_in(row: tuple[int] | None) -> int:
    """The access version in its row, of which there is none before the first change."""
    return row[0] if row else 0
