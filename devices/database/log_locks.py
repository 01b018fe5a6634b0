"""Locks the logs of devices for the write path, in SQL, because for a thousand devices the ORM takes longer."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper

from devices.database import nodes, placement
from devices.database.pipelines import execute_prepared, together

# Always in the order of the ids, which prevents deadlocks. FOR NO KEY UPDATE allows inserts that reference the row. The
# ids are a constant, because a distributed database chooses the shard before it runs the statement.
LOCK = """
SELECT device_id, last_seq, names_seq FROM devices_devicestate
WHERE device_id = ANY(%s::text[])
ORDER BY device_id
FOR NO KEY UPDATE
"""
# Statements of their own, because LOCK's snapshot is older than the locks: a device may be deactivated, and a key
# revoked, while LOCK waits. The version is read last, so that it counts every revocation that was committed before.
DEVICES = "SELECT device_id, id, is_active FROM devices_device WHERE device_id = ANY(%s::text[])"
ACCESS_VERSION = "SELECT version FROM devices_accessversion"
# All of them in one statement, which costs less. Devices and version are of its snapshot: if the version is the same
# when the locks are held, so are the devices, because each change that decides about them raises it (migration 0006).
# Not on Citus, which has the version on the coordinator alone.
LOCK_AND_READ = """
SELECT state.device_id, device.id, device.is_active, state.last_seq, state.names_seq,
    (SELECT version FROM devices_accessversion)
FROM devices_devicestate AS state JOIN devices_device AS device ON device.device_id = state.device_id
WHERE state.device_id = ANY(%s::text[])
ORDER BY state.device_id
FOR NO KEY UPDATE OF state
"""
# SQLite has no row locks and needs none, because BEGIN IMMEDIATE made this transaction the only writer.
LOGS_SQLITE = """
SELECT state.device_id, device.id, device.is_active, state.last_seq, state.names_seq
FROM devices_devicestate AS state JOIN devices_device AS device ON device.device_id = state.device_id
WHERE state.device_id IN (SELECT value FROM json_each(%s))
"""


class LogEnd(msgspec.Struct, gc=False):
    """The end of a device's log, valid while its state row is locked. `device_pk` is the device's UUID.

    `names_seq`: the position in the log at which the set of the device's metrics last changed; 0 if it has no metrics.
    """

    device_id: str
    device_pk: UUID
    is_active: bool
    last_seq: int
    names_seq: int


def lock(connection: BaseDatabaseWrapper, device_ids: Collection[str]) -> None:
    """Locks these devices' logs until the transaction ends. Raises DatabaseError, such as NodeAway."""
    nodes.watch.require(device_ids)
    if connection.vendor == "postgresql":
        with placement.forgotten_if_refused(), connection.cursor() as cursor:
            for group in groups_of(device_ids):
                cursor.execute(LOCK, group)


def lock_at_version(connection: BaseDatabaseWrapper, device_ids: Collection[str]) -> tuple[dict[str, LogEnd], int]:
    """As `lock`; returns the ends of the logs by device id, and the `AccessVersion`. Unknown ids are left out.

    Whether a device is active and the version are read when the locks are held, so that the wait does not age them:
    what a key may do at this version, it may do in this transaction.
    """
    nodes.watch.require(device_ids)
    if connection.vendor != "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(LOGS_SQLITE, [msgspec.json.encode(list(device_ids)).decode()])
            ends = log_ends(cursor.fetchall())
            cursor.execute(ACCESS_VERSION)
            return ends, version_in(cursor.fetchall())
    groups = groups_of(device_ids)
    with placement.forgotten_if_refused():
        if not settings.DISTRIBUTED:
            with together(connection):
                read = [execute_prepared(connection, LOCK_AND_READ, group) for group in groups]
                version = execute_prepared(connection, ACCESS_VERSION)
            rows, current = rows_of(read), version_in(version.fetchall())
            if all((before or 0) == current for *_, before in rows):
                return log_ends(row[:-1] for row in rows), current
        with together(connection):
            locked = [execute_prepared(connection, LOCK, group) for group in groups]
            devices = [execute_prepared(connection, DEVICES, group) for group in groups]
            version = execute_prepared(connection, ACCESS_VERSION)
    found = {device_id: (pk, active) for device_id, pk, active in rows_of(devices)}
    ends = log_ends((device_id, *found[device_id], *numbers) for device_id, *numbers in rows_of(locked))
    return ends, version_in(version.fetchall())


def rows_of(cursors: Iterable[Any]) -> list[tuple[Any, ...]]:
    return [row for cursor in cursors for row in cursor.fetchall()]


def groups_of(device_ids: Collection[str]) -> list[list[str]]:
    """The parameters of LOCK and DEVICES for each group of devices that one statement may lock."""
    return [[array_of(msgspec.json.encode(group).decode())] for group in placement.ids_in_groups(device_ids)]


def log_ends(rows: Iterable[Sequence[Any]]) -> dict[str, LogEnd]:
    """The log ends by device id. A row has the fields of LogEnd, in their order."""
    return {
        device_id: LogEnd(device_id, pk if isinstance(pk, UUID) else UUID(pk), bool(is_active), last, names)
        for device_id, pk, is_active, last, names in rows
    }


def array_of(array: str) -> str:
    """A JSON array of device ids or UUIDs as an array of PostgreSQL, which needs the same quotes but other brackets."""
    return f"{{{array[1:-1]}}}"


def version_in(rows: Sequence[tuple[int]]) -> int:
    """The access version in the rows; 0 without a row, which is so before the first change."""
    return rows[0][0] if rows else 0
