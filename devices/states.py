"""Updates the rows of DeviceState for the write path with one statement.

Written in SQL, because for a thousand devices the ORM takes longer than the database.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import connections, models
from django.db.backends.utils import CursorWrapper

from devices.database import log_locks, placement
from devices.database.log_locks import ACCESS_VERSION, LogEnd, array_of, version_in
from devices.database.pipelines import execute_prepared, together
from devices.status import FUTURE_TOLERANCE

if TYPE_CHECKING:
    from devices.models import DeviceState  # noqa: F401  named in the base class

# If the new values cover every metric of the device and are newer than all stored ones, they replace `latest` as a
# whole. This is the usual case, and it needs no parsing of JSON. The parameters are arrays, because one JSON document
# for all rows takes longer. An array that is NULL means NULL in every row.
# Citus allows only immutable functions within CASE, which json_object_agg and to_jsonb are not; names need no quoting.
ADVANCE = """
UPDATE devices_devicestate AS state
SET last_seq = new.last_seq,
    last_seen_at = greatest(
        CASE WHEN state.last_seen_at < %(until)s THEN state.last_seen_at END, %(seen_at)s::timestamptz
    ),
    latest_seq = CASE WHEN new.latest_at >= coalesce(state.latest_at, '-infinity') OR state.latest_at >= %(until)s
                      THEN coalesce(new.latest_seq, state.latest_seq) ELSE state.latest_seq END,
    latest_id = CASE WHEN new.latest_at >= coalesce(state.latest_at, '-infinity') OR state.latest_at >= %(until)s
                     THEN coalesce(new.latest_id, state.latest_id) ELSE state.latest_id END,
    latest_at = CASE WHEN new.latest_at >= coalesce(state.latest_at, '-infinity') OR state.latest_at >= %(until)s
                     THEN coalesce(new.latest_at, state.latest_at) ELSE state.latest_at END,
    said_offline_at = CASE WHEN %(seen_at)s::timestamptz IS NULL THEN state.said_offline_at END,
    names_seq = coalesce(new.names_seq, state.names_seq),
    latest = CASE
        WHEN new.latest IS NULL THEN state.latest
        -- Late, and every stored value is newer. Merging, below, would take four times as long.
        WHEN new.names_seq IS NULL AND coalesce(new.oldest_at, new.latest_at) < state.latest_at
            AND NOT jsonb_path_exists(
                state.latest::jsonb, '$.*[1] ? (@ <= $at || @ >= $until)', jsonb_build_object(
                    'at', (extract(epoch FROM new.latest_at) * 1000000)::bigint,
                    'until', %(until_microseconds)s::text::jsonb
                )
            )
            THEN state.latest
        WHEN coalesce(new.oldest_at, new.latest_at) < state.latest_at THEN (
            SELECT '{' || string_agg('"' || coalesce(mine.key, old.key) || '":' ||
                CASE WHEN mine.key IS NULL
                       OR ((old.value->1, old.value->2) > (mine.value->1, mine.value->2)
                           AND old.value->1 < %(until_microseconds)s::text::jsonb)
                     THEN old.value ELSE mine.value END::text, ','
            ) || '}'
            FROM jsonb_each(state.latest::jsonb) AS old
            FULL JOIN jsonb_each(new.latest::jsonb) AS mine ON mine.key = old.key
        )
        WHEN new.partial THEN (state.latest::jsonb || new.latest::jsonb)::text
        ELSE new.latest
    END
FROM unnest(%(device_id)s::text[], %(last_seq)s::bigint[], %(latest_seq)s::bigint[], %(latest_id)s::uuid[],
            %(latest_at)s::timestamptz[], %(latest)s::text[], %(oldest_at)s::timestamptz[], %(partial)s::boolean[],
            %(names_seq)s::bigint[])
    AS new (device_id, last_seq, latest_seq, latest_id, latest_at, latest, oldest_at, partial, names_seq)
WHERE state.device_id = new.device_id
"""
# The access version is read as late as possible, so that it counts every revocation committed before.
ADVANCE_AND_VERSION = f"WITH advanced AS ({ADVANCE}) SELECT version FROM devices_accessversion"  # noqa: S608
# The devices as a constant, by which Citus chooses the shard. It would take both in one statement apart again, at twice
# the time of two.
ADVANCE_IN_SHARD = f"{ADVANCE} AND state.device_id = ANY(%(device_id)s::text[])"
# SQLite stores times as text that sorts in time order.
ADVANCE_SQLITE = """
UPDATE devices_devicestate
SET last_seq = %(last_seq)s,
    last_seen_at = nullif(
        max(CASE WHEN last_seen_at < %(until)s THEN last_seen_at ELSE '' END, coalesce(%(seen_at)s, '')), ''
    ),
    latest_seq = CASE WHEN %(latest_at)s >= coalesce(latest_at, '') OR latest_at >= %(until)s
                      THEN coalesce(%(latest_seq)s, latest_seq) ELSE latest_seq END,
    latest_id = CASE WHEN %(latest_at)s >= coalesce(latest_at, '') OR latest_at >= %(until)s
                     THEN coalesce(%(latest_id)s, latest_id) ELSE latest_id END,
    latest_at = CASE WHEN %(latest_at)s >= coalesce(latest_at, '') OR latest_at >= %(until)s
                     THEN coalesce(%(latest_at)s, latest_at) ELSE latest_at END,
    said_offline_at = CASE WHEN %(seen_at)s IS NULL THEN said_offline_at END,
    names_seq = coalesce(%(names_seq)s, names_seq),
    latest = CASE
        WHEN %(latest)s IS NULL THEN latest
        WHEN %(oldest_at)s < latest_at OR %(partial)s THEN (
            SELECT json_group_object(key, json(value)) FROM (
                SELECT key, value, row_number() OVER (
                    PARTITION BY key ORDER BY mine AND future DESC, time DESC, seq DESC
                ) AS place
                FROM (
                    SELECT key, value, mine, json_extract(value, '$[1]') AS time, json_extract(value, '$[2]') AS seq,
                           max(json_extract(value, '$[1]')) OVER (PARTITION BY key) >= %(until_microseconds)s AS future
                    FROM (
                        SELECT key, value, 0 AS mine FROM json_each(latest)
                        UNION ALL SELECT key, value, 1 FROM json_each(%(latest)s)
                    )
                )
            ) WHERE place = 1
        )
        ELSE %(latest)s
    END
WHERE device_id = %(device_id)s
"""
NAMES = """
SELECT device_id, ARRAY(SELECT json_object_keys(latest::json)) FROM devices_devicestate
WHERE device_id = ANY(%s::text[])
"""
NAMES_SQLITE = """
SELECT device_id, (SELECT json_group_array(key) FROM json_each(latest)) FROM devices_devicestate
WHERE device_id IN (SELECT value FROM json_each(%s))
"""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEVER_REACHED = datetime(9999, 12, 31, tzinfo=UTC)
# The names of ADVANCE's array parameters, in the order in which `arrays` returns them.
ARRAYS = ["device_id", "last_seq", "latest_seq", "latest_id", "latest_at"]
ARRAYS += ["latest", "oldest_at", "partial", "names_seq"]


class LatestValue(NamedTuple):
    """A metric's value with the newest time. `microseconds` is that time since 1970; `seq` is 0 if unknown."""

    value: float | int
    microseconds: int
    seq: int


class Advance(msgspec.Struct, frozen=True, gc=False):
    """The new state of a device after readings were stored.

    `latest_seq`, `latest_id` and `latest_at` identify the stored reading with the newest time; None if none was stored.
    `latest` is a JSON object from each stored metric to its newest LatestValue. `oldest_at`: the oldest time of these
    values, if it differs from `latest_at`. `partial`: the device has further metrics. `names_seq`: set if at least one
    of the metrics is new for the device.
    """

    device_id: str
    last_seq: int
    latest_seq: int | None = None
    latest_id: UUID | None = None
    latest_at: datetime | None = None
    latest: str | None = None
    oldest_at: datetime | None = None
    partial: bool = False
    names_seq: int | None = None


class Advanced:
    """The outcome of `advance`: a version, or the cursor of a statement that a pipeline has perhaps not sent yet."""

    def __init__(self, outcome: int | CursorWrapper) -> None:
        self.outcome = outcome

    def access_version(self) -> int:
        """The `AccessVersion` at that moment; 0 if nothing was advanced. Ask after the commit. Raises DatabaseError."""
        if not isinstance(self.outcome, int):
            self.outcome = version_in(self.outcome.fetchall())
        return self.outcome


class DeviceStateManager(models.Manager["DeviceState"]):
    """Methods that take device ids; not methods of a QuerySet, because they would ignore its filters."""

    def lock(self, device_ids: Collection[str]) -> None:
        """Locks these devices' logs until the transaction ends. Raises DatabaseError."""
        log_locks.lock(connections[self.db], device_ids)

    def lock_at_version(self, device_ids: Collection[str]) -> tuple[dict[str, LogEnd], int]:
        """As `lock`; returns the ends of the logs by device id, and the `AccessVersion`. Unknown ids are left out."""
        return log_locks.lock_at_version(connections[self.db], device_ids)

    def advance(self, advances: Collection[Advance], *, seen_at: datetime | None) -> Advanced:
        """Updates locked states. `last_seen_at` and the newest reading and values only move forward in time.

        Exception: a stored time more than FUTURE_TOLERANCE in the future comes from a wrong clock and is replaced.
        `seen_at` is None if the device itself did not send anything. In a pipeline nothing is sent yet.
        """
        groups, connection = placement.in_groups(list(advances)), connections[self.db]
        if settings.DISTRIBUTED and connection.vendor == "postgresql" and groups:
            with together(connection):
                for group in groups:
                    self.advance_group(group, seen_at=seen_at)
                return Advanced(execute_prepared(connection, ACCESS_VERSION))
        advanced = Advanced(0)
        for group in groups:
            advanced = self.advance_group(group, seen_at=seen_at)
        return advanced

    def advance_group(self, advances: Collection[Advance], *, seen_at: datetime | None) -> Advanced:
        """`advance` for devices of one shard."""
        until = seen_at + FUTURE_TOLERANCE if seen_at else NEVER_REACHED
        common: dict[str, Any] = {"until_microseconds": (until - EPOCH) // timedelta(microseconds=1)}
        connection = connections[self.db]
        moment = connection.ops.adapt_datetimefield_value
        if connection.vendor == "postgresql":
            common |= {"seen_at": seen_at, "until": until} | dict(zip(ARRAYS, arrays(advances), strict=True))
            statement = ADVANCE_IN_SHARD if settings.DISTRIBUTED else ADVANCE_AND_VERSION
            return Advanced(execute_prepared(connection, statement, common))
        with connection.cursor() as cursor:
            common |= {"seen_at": moment(seen_at), "until": moment(until)}
            rows: list[dict[str, Any]] = [
                msgspec.structs.asdict(advance)
                | common
                | {
                    "latest_id": advance.latest_id and advance.latest_id.hex,
                    "latest_at": moment(advance.latest_at),
                    "oldest_at": moment(advance.oldest_at or advance.latest_at),
                }
                for advance in advances
            ]
            cursor.executemany(ADVANCE_SQLITE, rows)
            cursor.execute(ACCESS_VERSION)
            return Advanced(version_in(cursor.fetchall()))

    def say(self, device_id: str, *, online: bool, at: datetime) -> None:
        """Stores what an active device, or its will, said of itself at `at`. Offline holds until the next reading.

        Ignored if something was received from the device after `at`. Raises DatabaseError.
        """
        state = self.filter(device_id=device_id, device__is_active=True)
        if online:
            state.update(said_offline_at=None)
        else:
            state.exclude(last_seen_at__gt=at).update(said_offline_at=at)

    def metric_names(self, device_ids: Collection[str]) -> dict[str, frozenset[str]]:
        """The names of all metrics of each of these devices, including those with a column of their own."""
        connection = connections[self.db]
        with connection.cursor() as cursor:
            asked = msgspec.json.encode(list(device_ids)).decode()
            if connection.vendor == "postgresql":
                cursor.execute(NAMES, [array_of(asked)])
                return {device_id: frozenset(names) for device_id, names in cursor.fetchall()}
            cursor.execute(NAMES_SQLITE, [asked])
            return {device_id: frozenset(msgspec.json.decode(names)) for device_id, names in cursor.fetchall()}


def arrays(advances: Collection[Advance]) -> list[str | None]:
    """ADVANCE's arrays in the text format of PostgreSQL; None for an array in which no row has a value.

    Only device ids, JSON and times need quotes.
    """
    times: dict[datetime | None, str] = {None: "NULL"}
    for advance in advances:
        for at in (advance.latest_at, advance.oldest_at):
            if at not in times:
                assert at is not None
                times[at] = f'"{at.isoformat()}"'
    columns: list[list[str] | None] = [
        [f'"{a.device_id}"' for a in advances],
        [str(a.last_seq) for a in advances],
        ["NULL" if a.latest_seq is None else str(a.latest_seq) for a in advances],
        ["NULL" if a.latest_id is None else f"{a.latest_id.int:032x}" for a in advances],
        [times[a.latest_at] for a in advances],
        ["NULL" if a.latest is None else '"' + a.latest.replace('"', r"\"") + '"' for a in advances],
        [times[a.oldest_at] for a in advances] if any(a.oldest_at for a in advances) else None,
        [str(a.partial) for a in advances] if any(a.partial for a in advances) else None,
        ["NULL" if a.names_seq is None else str(a.names_seq) for a in advances]
        if any(a.names_seq for a in advances)
        else None,
    ]
    return [None if column is None else f"{{{','.join(column)}}}" for column in columns]
