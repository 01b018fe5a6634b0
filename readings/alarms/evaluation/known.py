"""Reads and writes what the rules know of devices: the rows of `EvaluationState`.

In SQL, because the ORM takes longer than the database for a thousand rows.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

import msgspec
from django.db import connection

from devices.database import placement
from readings.alarms.models import EvaluationState

# A rule and a device.
Pair = tuple[int, str]

READ = """
SELECT own.rule_id, own.device_id, own.after_seq, own.state, own.heard_at IS NOT NULL
FROM unnest(%s::text[]) AS asked (device_id)
CROSS JOIN LATERAL (
    SELECT * FROM alarms_evaluationstate WHERE device_id = asked.device_id{condition} OFFSET 0
) AS own
"""
READ_SQLITE = """
SELECT own.rule_id, own.device_id, own.after_seq, own.state, own.heard_at IS NOT NULL
FROM json_each(%s) AS asked JOIN alarms_evaluationstate AS own ON own.device_id = asked.value
"""
OR_UPDATE = """
ON CONFLICT (rule_id, device_id) DO UPDATE SET state = excluded.state, heard_at = excluded.heard_at
"""
WRITE = f"""
INSERT INTO alarms_evaluationstate (rule_id, device_id, after_seq, state, heard_at)
SELECT rule_id, device_id, after_seq, state, heard_at
FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::text[], %s::timestamptz[])
    AS new (rule_id, device_id, after_seq, state, heard_at)
{OR_UPDATE}
"""
WRITE_SQLITE = f"""
INSERT INTO alarms_evaluationstate (rule_id, device_id, after_seq, state, heard_at) VALUES (%s, %s, %s, %s, %s)
{OR_UPDATE}
"""


class Known(msgspec.Struct, frozen=True, gc=False):
    """The fields of a stored `EvaluationState`. `heard`: whether the metric of a silence was ever read."""

    after_seq: int
    state: str
    heard: bool

    @property
    def says_nothing(self) -> bool:
        """Whether it only says where the rule began."""
        return not self.heard and self.state == "{}"


class Written(msgspec.Struct, frozen=True, gc=False):
    """A row of `EvaluationState` to store. `heard_at`: when the metric of a silence was last read; None: never."""

    rule_id: int
    device_id: str
    after_seq: int
    state: str
    heard_at: datetime | None


def read_known(device_ids: Collection[str], rule_ids: Collection[int]) -> dict[str, dict[int, Known]]:
    """What these rules know of these devices, by device id and rule id."""
    found: dict[str, dict[int, Known]] = {}
    with connection.cursor() as cursor:
        for group in placement.ids_in_groups(device_ids):
            if connection.vendor == "postgresql":
                condition, more = placement.condition("device_id", group)
                cursor.execute(READ.format(condition=condition), [array(group), *more])
            else:
                cursor.execute(READ_SQLITE, [msgspec.json.encode(group).decode()])
            for rule_id, device_id, after_seq, state, heard in cursor.fetchall():
                if rule_id in rule_ids:
                    found.setdefault(device_id, {})[rule_id] = Known(after_seq, state, bool(heard))
    return found


def write_known(rows: Sequence[Written]) -> None:
    if not rows:
        return
    rows = sorted(rows, key=lambda row: row.rule_id)  # neighbours in the index
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            rule_ids, device_ids, positions, states, heard_at = zip(*map(msgspec.structs.astuple, rows), strict=True)
            cursor.execute(WRITE, list(map(array, (rule_ids, device_ids, positions, states, heard_at))))
        else:
            moment = connection.ops.adapt_datetimefield_value
            cursor.executemany(
                WRITE_SQLITE, [(*msgspec.structs.astuple(row)[:-1], moment(row.heard_at)) for row in rows]
            )


def forget_known(pairs: Iterable[Pair]) -> None:
    by_rule: dict[int, list[str]] = {}
    for rule_id, device_id in pairs:
        by_rule.setdefault(rule_id, []).append(device_id)
    for rule_id, device_ids in by_rule.items():
        EvaluationState.objects.filter(rule_id=rule_id, device_id__in=device_ids).delete()


def array(values: Iterable[object]) -> str:
    """An array in the text format of PostgreSQL, of values without backslashes. Much faster than psycopg's lists."""
    return "{" + ",".join([quoted(value) if type(value) is str else plain(value) for value in values]) + "}"


def plain(value: object) -> str:
    return "NULL" if value is None else f'"{value}"'


def quoted(text: str) -> str:
    return '"' + text.replace('"', r"\"") + '"'
