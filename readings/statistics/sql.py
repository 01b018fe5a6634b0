"""The parts of the SQL of `aggregation`, with their parameters, that differ between PostgreSQL and SQLite.

The rows that it reads come from `readings.log.sources`.
"""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from readings.log.reading.rows import moment
from readings.log.sources import FIRST, encoded


class PostgreSQL:
    """Times are parameters and results of type timestamptz."""

    first = FIRST["postgresql"]
    entries = "jsonb_each_text(extra) AS entry(key, value)"
    value = "entry.value::float8"
    seconds = "floor(extract(epoch FROM greatest(at, %s)))::bigint"
    same = "{} IS NOT DISTINCT FROM {}::timestamptz"
    no_label = "NULL::bigint"
    no_segment = "NULL::bigint, NULL::bytea"
    whole = "{}::bigint"
    # Of rollups, which begin at whole seconds. `date_part` is a double, and several times as fast as `extract`.
    whole_seconds = "date_part('epoch', at)::bigint"
    block = "floor(date_part('epoch', at) / {})"
    unsorted = ", unsorted"
    truncated = {3600: "date_trunc('hour', timestamp, 'UTC')", 60: "date_trunc('minute', timestamp, 'UTC')"}
    unchanged = (
        "SELECT count(*) FROM unnest(%s::text[], %s::timestamptz[]) AS asked(device_id, raw_from) "
        "JOIN devices_devicestate AS state ON state.device_id = asked.device_id "
        "AND state.raw_from IS NOT DISTINCT FROM asked.raw_from"
    )

    @staticmethod
    def pairs(device_ids: Sequence[str], moments: Sequence[datetime | None]) -> list[Any]:
        return [list(device_ids), list(moments)]

    @staticmethod
    def width_bucket(starts: list[datetime]) -> tuple[str, list[Any]]:
        return "width_bucket(greatest(at, %s), %s::timestamptz[])", [starts]


class SQLite:
    """Times are text that sorts in time order."""

    first = FIRST["sqlite"]
    entries = "json_each(extra) AS entry"
    # The cast is needed because a sum of integers is an integer, and fails if it exceeds 64 bits.
    value = "CAST(entry.value AS REAL)"
    # The fraction is cut off, because strftime would round it to milliseconds, possibly up into the next bucket.
    seconds = "CAST(strftime('%%s', substr(max(at, %s), 1, 19)) AS INTEGER)"
    same = "{} IS {}"
    no_label = "NULL"
    no_segment = "NULL, NULL"
    whole = "{}"
    whole_seconds = "CAST(strftime('%%s', at) AS INTEGER)"
    block = "strftime('%%s', at) / {}"
    unsorted = ""
    truncated = {3600: "substr(timestamp, 1, 13) || ':00:00'", 60: "substr(timestamp, 1, 16) || ':00'"}
    unchanged = (
        "SELECT count(*) FROM json_each(%s) AS asked JOIN devices_devicestate AS state "
        "ON state.device_id = json_extract(asked.value, '$[0]') AND state.raw_from IS json_extract(asked.value, '$[1]')"
    )

    @staticmethod
    def pairs(device_ids: Sequence[str], moments: Sequence[datetime | None]) -> list[Any]:
        return [encoded([[device_id, moment(at)] for device_id, at in zip(device_ids, moments, strict=True)])]

    @staticmethod
    def width_bucket(starts: list[datetime]) -> tuple[str, list[Any]]:
        """Defines PostgreSQL's function, which SQLite lacks, for times as text."""
        texts = [moment(start) for start in starts]
        connection.ensure_connection()
        connection.connection.create_function(
            "width_bucket", 1, lambda timestamp: bisect_right(texts, timestamp), deterministic=True
        )
        return "width_bucket(max(at, %s))", []
