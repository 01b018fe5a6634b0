"""The parts of the SQL of `aggregation`, with their parameters, that differ between PostgreSQL and SQLite.

Rows have a column `place`: the index of their device in `device_ids`, from FIRST on. A query of one device names it in
place of a join, because the planner then knows how many of its readings lie in a span.
"""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.db import connection

from readings.statistics.planning import Span


class PostgreSQL:
    """Times are parameters and results of type timestamptz."""

    first = 1
    entries = "jsonb_each_text(extra) AS entry(key, value)"
    value = "entry.value::float8"
    seconds = "floor(extract(epoch FROM greatest(at, %s)))::bigint"
    same = "{} IS NOT DISTINCT FROM {}::timestamptz"
    no_label = "NULL::bigint"
    whole = "{}::bigint"
    truncated = {3600: "date_trunc('hour', timestamp, 'UTC')", 60: "date_trunc('minute', timestamp, 'UTC')"}
    unchanged = (
        "SELECT count(*) FROM unnest(%s::text[], %s::timestamptz[]) AS asked(device_id, raw_from) "
        "JOIN devices_devicestate AS state ON state.device_id = asked.device_id "
        "AND state.raw_from IS NOT DISTINCT FROM asked.raw_from"
    )

    @staticmethod
    def within(
        spans: Sequence[Span], columns: str, *, table: str, where: str, time: str, device_ids: Sequence[str]
    ) -> tuple[str, list[Any]]:
        """Rows of the devices in the spans, one index scan per device and span.

        The parameters of `where` must follow the returned ones.
        """
        edges = [[span.start for span in spans], [span.end for span in spans]]
        if len(device_ids) == 1:
            place, asked, device, parameters = f"{PostgreSQL.first} AS place, ", "", "%s", [*edges, device_ids[0]]
        else:
            place, device = "", "asked.device_id"
            asked = "unnest(%s::text[]) WITH ORDINALITY AS asked(device_id, place) CROSS JOIN "
            parameters = [list(device_ids), *edges]
        sql = (
            f"{asked}unnest(%s::timestamptz[], %s::timestamptz[]) AS span(begins, ends) CROSS JOIN LATERAL "
            f"(SELECT {place}{columns} FROM {table} WHERE device_id = {device} AND {where} "
            f"AND {time} >= span.begins AND {time} < span.ends OFFSET 0) AS found"
        )
        return sql, parameters

    @staticmethod
    def after(
        spans: Sequence[Span], columns: str, *, position: str, positions: dict[str, int]
    ) -> tuple[str, list[Any]]:
        """Readings in the spans after the devices' positions, which are few.

        A position occurs twice: the value read before, for the planner, and the current value of the column `position`.
        """
        select = (
            "SELECT {place}{columns} FROM readings_reading WHERE device_id = {device} AND seq > {after} "
            f"AND seq > (SELECT {position} FROM devices_devicestate WHERE device_id = {{device}}) OFFSET 0"
        )
        if len(positions) == 1:
            ((device_id, after),) = positions.items()
            place = f"{PostgreSQL.first} AS place, "
            found = f"({select.format(place=place, columns=columns, device='%s', after='%s')}) AS found"
            parameters: list[Any] = [device_id, after, device_id]
        else:
            inner = select.format(place="", columns=columns, device="asked.device_id", after="asked.position")
            found = (
                "unnest(%s::text[], %s::bigint[]) WITH ORDINALITY AS asked(device_id, position, place) "
                f"CROSS JOIN LATERAL ({inner}) AS found"
            )
            parameters = [list(positions), list(positions.values())]
        sql = (
            f"{found} JOIN unnest(%s::timestamptz[], %s::timestamptz[]) AS span(begins, ends) "
            "ON found.timestamp >= span.begins AND found.timestamp < span.ends"
        )
        return sql, [*parameters, [span.start for span in spans], [span.end for span in spans]]

    @staticmethod
    def pairs(device_ids: Sequence[str], moments: Sequence[datetime | None]) -> list[Any]:
        return [list(device_ids), list(moments)]

    @staticmethod
    def width_bucket(starts: list[datetime]) -> tuple[str, list[Any]]:
        return "width_bucket(greatest(at, %s), %s::timestamptz[])", [starts]


class SQLite:
    """Times are text that sorts in time order."""

    first = 0
    entries = "json_each(extra) AS entry"
    # The cast is needed because a sum of integers is an integer, and fails if it exceeds 64 bits.
    value = "CAST(entry.value AS REAL)"
    # The fraction is cut off, because strftime would round it to milliseconds, possibly up into the next bucket.
    seconds = "CAST(strftime('%%s', substr(max(at, %s), 1, 19)) AS INTEGER)"
    same = "{} IS {}"
    no_label = "NULL"
    whole = "{}"
    truncated = {3600: "substr(timestamp, 1, 13) || ':00:00'", 60: "substr(timestamp, 1, 16) || ':00'"}
    unchanged = (
        "SELECT count(*) FROM json_each(%s) AS asked JOIN devices_devicestate AS state "
        "ON state.device_id = json_extract(asked.value, '$[0]') AND state.raw_from IS json_extract(asked.value, '$[1]')"
    )

    @staticmethod
    def within(
        spans: Sequence[Span], columns: str, *, table: str, where: str, time: str, device_ids: Sequence[str]
    ) -> tuple[str, list[Any]]:
        """Like that of PostgreSQL. CROSS JOIN makes SQLite loop over the devices and spans first."""
        one = len(device_ids) == 1
        asked, place = ("", "0") if one else ("json_each(%s) AS asked CROSS JOIN ", "asked.key")
        sql = (
            f"(SELECT {place} AS place, {columns} FROM {asked}json_each(%s) AS span CROSS JOIN {table} "
            f"WHERE device_id = {'%s' if one else 'asked.value'} AND {where} "
            f"AND {time} >= json_extract(span.value, '$[0]') AND {time} < json_extract(span.value, '$[1]'))"
        )
        edges = texts_of(spans)
        return sql, [edges, device_ids[0]] if one else [encoded(list(device_ids)), edges]

    @staticmethod
    def after(
        spans: Sequence[Span], columns: str, *, position: str, positions: dict[str, int]
    ) -> tuple[str, list[Any]]:
        select = (
            f"SELECT {{place}} AS place, {columns} FROM {{asked}}readings_reading WHERE device_id = {{device}} "
            f"AND seq > {{after}} AND seq > (SELECT {position} FROM devices_devicestate WHERE device_id = {{device}})"
        )
        if len(positions) == 1:
            ((device_id, after),) = positions.items()
            found = select.format(place="0", asked="", device="%s", after="%s")
            parameters: list[Any] = [device_id, after, device_id]
        else:
            one, other = ("json_extract(asked.value, '$[0]')", "json_extract(asked.value, '$[1]')")
            asked = "json_each(%s) AS asked CROSS JOIN "
            found = select.format(place="asked.key", asked=asked, device=one, after=other)
            parameters = [encoded(list(positions.items()))]
        sql = (
            f"({found}) AS found JOIN json_each(%s) AS span ON found.timestamp >= json_extract(span.value, '$[0]') "
            "AND found.timestamp < json_extract(span.value, '$[1]')"
        )
        return sql, [*parameters, texts_of(spans)]

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


def moment(value: datetime | None) -> Any:
    return connection.ops.adapt_datetimefield_value(value)


def encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def texts_of(spans: Sequence[Span]) -> str:
    return encoded([[moment(span.start), moment(span.end)] for span in spans])
