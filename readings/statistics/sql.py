"""The parts of the SQL of `aggregation`, with their parameters, that differ between PostgreSQL and SQLite."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.db import connection

from readings.statistics.planning import Span


class PostgreSQL:
    """Times are parameters and results of type timestamptz."""

    entries = "jsonb_each_text(extra) AS entry(key, value)"
    value = "entry.value::float8"
    seconds = "floor(extract(epoch FROM greatest(at, %s)))::bigint"
    same = "{} IS NOT DISTINCT FROM {}::timestamptz"
    no_label = "NULL::bigint"
    whole = "{}::bigint"
    truncated = {3600: "date_trunc('hour', timestamp, 'UTC')", 60: "date_trunc('minute', timestamp, 'UTC')"}

    @staticmethod
    def within(spans: Sequence[Span], columns: str, *, table: str, where: str, time: str) -> tuple[str, list[Any]]:
        """Rows in the spans, one index scan per span. The parameters of `where` must follow the returned ones."""
        sql = (
            "unnest(%s::timestamptz[], %s::timestamptz[]) AS span(begins, ends) CROSS JOIN LATERAL "
            f"(SELECT {columns} FROM {table} WHERE {where} AND {time} >= span.begins AND {time} < span.ends OFFSET 0)"
            " AS found"
        )
        return sql, [[span.start for span in spans], [span.end for span in spans]]

    @staticmethod
    def among(spans: Sequence[Span], select: str, parameters: list[Any]) -> tuple[str, list[Any]]:
        """The rows of `select` that lie in the spans; for a `select` that finds few rows."""
        sql = (
            f"({select} OFFSET 0) AS found JOIN unnest(%s::timestamptz[], %s::timestamptz[]) AS span(begins, ends) "
            "ON found.timestamp >= span.begins AND found.timestamp < span.ends"
        )
        return sql, [*parameters, [span.start for span in spans], [span.end for span in spans]]

    @staticmethod
    def width_bucket(starts: list[datetime]) -> tuple[str, list[Any]]:
        return "width_bucket(greatest(at, %s), %s::timestamptz[])", [starts]


class SQLite:
    """Times are text that sorts in time order."""

    entries = "json_each(extra) AS entry"
    # The cast is needed because a sum of integers is an integer, and fails if it exceeds 64 bits.
    value = "CAST(entry.value AS REAL)"
    # The fraction is cut off, because strftime would round it to milliseconds, possibly up into the next bucket.
    seconds = "CAST(strftime('%%s', substr(max(at, %s), 1, 19)) AS INTEGER)"
    same = "{} IS {}"
    no_label = "NULL"
    whole = "{}"
    truncated = {3600: "substr(timestamp, 1, 13) || ':00:00'", 60: "substr(timestamp, 1, 16) || ':00'"}

    @staticmethod
    def within(spans: Sequence[Span], columns: str, *, table: str, where: str, time: str) -> tuple[str, list[Any]]:
        """Like that of PostgreSQL. CROSS JOIN makes SQLite loop over the spans first."""
        sql = (
            f"(SELECT {columns} FROM json_each(%s) AS span CROSS JOIN {table} WHERE {where} "
            f"AND {time} >= json_extract(span.value, '$[0]') AND {time} < json_extract(span.value, '$[1]'))"
        )
        return sql, [texts_of(spans)]

    @staticmethod
    def among(spans: Sequence[Span], select: str, parameters: list[Any]) -> tuple[str, list[Any]]:
        sql = (
            f"({select}) AS found JOIN json_each(%s) AS span ON found.timestamp >= json_extract(span.value, '$[0]') "
            "AND found.timestamp < json_extract(span.value, '$[1]')"
        )
        return sql, [*parameters, texts_of(spans)]

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


def texts_of(spans: Sequence[Span]) -> str:
    return msgspec.json.encode([[moment(span.start), moment(span.end)] for span in spans]).decode()
