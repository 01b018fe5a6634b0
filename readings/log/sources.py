"""SQL for the FROM clause of statistics: rows and segments of devices in spans of time, with the parameters.

Rows have a column `place`: the index of their device in `device_ids`, from FIRST on. A query of one device names it in
place of a join, because the planner then knows how many of its readings lie in a span.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.db import connection

from readings.log.reading.rows import moment

# Half-open: `[start, end)`.
Times = tuple[datetime, datetime]
Source = tuple[str, list[Any]]

READINGS, SEGMENTS, ROLLUPS = "readings_reading", "readings_segment", "readings_rollup"
START = ("start", "start")
# PostgreSQL counts from 1, SQLite from 0.
FIRST = {"postgresql": 1, "sqlite": 0}


def readings_within(spans: Sequence[Times], columns: str, *, device_ids: Sequence[str]) -> Source:
    """Readings of the devices in the spans, one index scan per device and span."""
    return rows_within(spans, columns, table=READINGS, where="true", time="timestamp", device_ids=device_ids)


def readings_after(spans: Sequence[Times], columns: str, *, position: str, positions: dict[str, int]) -> Source:
    """Readings in the spans after the devices' positions, which are few.

    A position occurs twice: the value read before, for the planner, and the current value of the column `position` of
    DeviceState.
    """
    after = after_postgresql if connection.vendor == "postgresql" else after_sqlite
    return after(spans, columns, position=position, positions=positions)


def segments_within(spans: Sequence[Times], *, position: str, device_ids: Sequence[str]) -> Source:
    """Segments with readings in the spans, each once, by device and time: place, position, first_seq, last_seq, data.

    `position`: a column of DeviceState, after which the readings must be; "": all, and the position is 0.
    """
    postgresql = connection.vendor == "postgresql"
    # Citus finds the shard by constants only, and has one device in each statement.
    named = postgresql and len(device_ids) == 1
    after = (
        f"(SELECT {position} FROM devices_devicestate WHERE device_id = {'%s' if named else f'{SEGMENTS}.device_id'})"
    )
    within = within_postgresql if postgresql else within_sqlite
    source, parameters = within(
        spans,
        f"device_id AS of_device, first_seq, {after if position else '0'} AS position",
        table=SEGMENTS,
        where=f"last_seq > {after}" if position else "true",
        time=("last_at", "first_at"),
        device_ids=device_ids,
    )
    # The keys alone at first, because a segment may be found for several spans.
    sql = (
        f"(SELECT place, position, segment.first_seq, last_seq, data "
        f"FROM (SELECT DISTINCT place, of_device, first_seq, position FROM {source}) AS chosen "
        f"CROSS JOIN {SEGMENTS} AS segment "
        f"WHERE segment.device_id = {'%s' if named else 'chosen.of_device'} AND segment.first_seq = chosen.first_seq "
        "ORDER BY place, first_at) AS sealed"
    )
    if named:
        begins, ends, device_id = parameters
        of_position = [device_id] if position else []
        parameters = [begins, ends, *of_position, device_id, *of_position, device_id]
    return sql, parameters


def rows_within(
    spans: Sequence[Times], columns: str, *, table: str, where: str, time: str, device_ids: Sequence[str]
) -> Source:
    """Rows of a table that has the columns `device_id` and `time`.

    The parameters of `where` must follow the returned ones.
    """
    within = within_postgresql if connection.vendor == "postgresql" else within_sqlite
    return within(spans, columns, table=table, where=where, time=(time, time), device_ids=device_ids)


def rollups_within(spans: Sequence[Times], columns: str, *, where: str, device_ids: Sequence[str]) -> Source:
    """Rollups of each device and span in the order of time, so that sums of doubles are always added in this order.

    If the result is grouped by `unsorted` too, PostgreSQL keeps the order, because it can hash this type, but not sort
    it. SQLite reads them by the key of the table, and its sort keeps the order of equal rows.
    """
    if connection.vendor == "postgresql":
        columns, order = f"{columns}, '0'::xid AS unsorted", "ORDER BY start"
        return within_postgresql(
            spans, columns, table=ROLLUPS, where=where, time=START, device_ids=device_ids, order=order
        )
    return within_sqlite(spans, columns, table=ROLLUPS, where=where, time=START, device_ids=device_ids)


def within_postgresql(
    spans: Sequence[Times],
    columns: str,
    *,
    table: str,
    where: str,
    time: tuple[str, str],
    device_ids: Sequence[str],
    order: str = "",
) -> Source:
    """`time`: the columns of which the first is not before the begin of a span, and the second before its end."""
    edges = list(edges_of(spans))
    if len(device_ids) == 1:
        place, asked, device = f"{FIRST['postgresql']} AS place, ", "", "%s"
        parameters: list[Any] = [*edges, device_ids[0]]
    else:
        place, device = "", "asked.device_id"
        asked = "unnest(%s::text[]) WITH ORDINALITY AS asked(device_id, place) CROSS JOIN "
        parameters = [list(device_ids), *edges]
    sql = (
        f"{asked}unnest(%s::timestamptz[], %s::timestamptz[]) AS span(begins, ends) CROSS JOIN LATERAL "
        f"(SELECT {place}{columns} FROM {table} WHERE device_id = {device} AND {where} "
        f"AND {time[0]} >= span.begins AND {time[1]} < span.ends {order} OFFSET 0) AS found"
    )
    return sql, parameters


def after_postgresql(spans: Sequence[Times], columns: str, *, position: str, positions: dict[str, int]) -> Source:
    select = (
        f"SELECT {{place}}{columns} FROM {READINGS} WHERE device_id = {{device}} AND seq > {{after}} "
        f"AND seq > (SELECT {position} FROM devices_devicestate WHERE device_id = {{device}}) OFFSET 0"
    )
    if len(positions) == 1:
        ((device_id, after),) = positions.items()
        place = f"{FIRST['postgresql']} AS place, "
        found = f"({select.format(place=place, device='%s', after='%s')}) AS found"
        parameters: list[Any] = [device_id, after, device_id]
    else:
        inner = select.format(place="", device="asked.device_id", after="asked.position")
        found = (
            "unnest(%s::text[], %s::bigint[]) WITH ORDINALITY AS asked(device_id, position, place) "
            f"CROSS JOIN LATERAL ({inner}) AS found"
        )
        parameters = [list(positions), list(positions.values())]
    sql = (
        f"{found} JOIN unnest(%s::timestamptz[], %s::timestamptz[]) AS span(begins, ends) "
        "ON found.timestamp >= span.begins AND found.timestamp < span.ends"
    )
    return sql, [*parameters, *edges_of(spans)]


def within_sqlite(
    spans: Sequence[Times], columns: str, *, table: str, where: str, time: tuple[str, str], device_ids: Sequence[str]
) -> Source:
    """CROSS JOIN makes SQLite loop over the devices and spans first."""
    one = len(device_ids) == 1
    asked, place = ("", str(FIRST["sqlite"])) if one else ("json_each(%s) AS asked CROSS JOIN ", "asked.key")
    sql = (
        f"(SELECT {place} AS place, {columns} FROM {asked}json_each(%s) AS span CROSS JOIN {table} "
        f"WHERE device_id = {'%s' if one else 'asked.value'} AND {where} "
        f"AND {time[0]} >= json_extract(span.value, '$[0]') AND {time[1]} < json_extract(span.value, '$[1]'))"
    )
    edges = texts_of(spans)
    return sql, [edges, device_ids[0]] if one else [encoded(list(device_ids)), edges]


def after_sqlite(spans: Sequence[Times], columns: str, *, position: str, positions: dict[str, int]) -> Source:
    select = (
        f"SELECT {{place}} AS place, {columns} FROM {{asked}}{READINGS} WHERE device_id = {{device}} "
        f"AND seq > {{after}} AND seq > (SELECT {position} FROM devices_devicestate WHERE device_id = {{device}})"
    )
    if len(positions) == 1:
        ((device_id, after),) = positions.items()
        found = select.format(place=FIRST["sqlite"], asked="", device="%s", after="%s")
        parameters: list[Any] = [device_id, after, device_id]
    else:
        one, other = ("json_extract(asked.value, '$[0]')", "json_extract(asked.value, '$[1]')")
        found = select.format(place="asked.key", asked="json_each(%s) AS asked CROSS JOIN ", device=one, after=other)
        parameters = [encoded(list(positions.items()))]
    sql = (
        f"({found}) AS found JOIN json_each(%s) AS span ON found.timestamp >= json_extract(span.value, '$[0]') "
        "AND found.timestamp < json_extract(span.value, '$[1]')"
    )
    return sql, [*parameters, texts_of(spans)]


def edges_of(spans: Sequence[Times]) -> tuple[list[datetime], list[datetime]]:
    return [start for start, _ in spans], [end for _, end in spans]


def texts_of(spans: Sequence[Times]) -> str:
    """The spans as SQLite stores times, as text that sorts in time order."""
    return encoded([[moment(start), moment(end)] for start, end in spans])


def encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()
