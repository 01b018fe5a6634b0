"""Distributes the tables of the log by device over the nodes of a PostgreSQL with Citus (docs/scaling.md)."""

from collections.abc import Iterator

from django.apps import apps
from django.conf import settings
from django.core.management.base import CommandError
from django.core.management.color import no_style
from django.db import connection, transaction

# Each device has rows of its own in these tables. They are distributed by `device_id` and colocated: all rows of a
# device are on one node. The state is among them, because a transaction commits first where it began: a reader would
# see the new end of a log before its readings.
PER_DEVICE = (
    "devices_devicestate",
    "readings_reading",
    "readings_rollup",
    "readings_rollupblock",
    "readings_segment",
    "readings_sealedid",
    "readings_receiptmark",
    "alarms_evaluationstate",
)
# Small tables that statements join with those; each node has a copy.
REFERENCE = ("devices_device", "devices_tag", "devices_devicetag", "readings_metric", "alarms_rule")

WITHOUT_CITUS = (
    "DISTRIBUTED is true, but the database is not a PostgreSQL with Citus. Create the extension on every node "
    "(CREATE EXTENSION citus), or set DISTRIBUTED=false."
)
ON_SQLITE = "DISTRIBUTED is true, but SQLite cannot be distributed. Use a PostgreSQL with Citus, or set it to false."

PLACES = """
SELECT relation.relname, part.partmethod, part.colocationid, attribute.attname
FROM pg_dist_partition AS part JOIN pg_class AS relation ON relation.oid = part.logicalrelid
LEFT JOIN pg_attribute AS attribute ON attribute.attrelid = part.logicalrelid
    AND attribute.attname = column_to_column_name(part.logicalrelid, part.partkey)
WHERE part.partmethod = 'h' OR part.repmodel = 't'
"""

# Foreign keys of other tables to reference tables. Through them Citus would take the tables of accounts over, too.
DRAWING_KEYS = """
SELECT here.relname, key.conname FROM pg_constraint AS key
JOIN pg_class AS here ON here.oid = key.conrelid JOIN pg_class AS there ON there.oid = key.confrelid
WHERE key.contype = 'f' AND there.relname = ANY(%(reference)s)
    AND NOT here.relname = ANY(%(reference)s) AND NOT here.relname = ANY(%(per_device)s)
    AND here.relnamespace = current_schema()::regnamespace
    AND NOT EXISTS (SELECT FROM pg_dist_partition AS taken WHERE taken.logicalrelid = here.oid)
"""

# As migration devices.0006 made it, but only the coordinator has the version: triggers of a reference table also run on
# its copies.
RAISE_ACCESS_VERSION = """
CREATE OR REPLACE FUNCTION devices_raise_access_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_regclass('devices_accessversion') IS NULL OR TG_OP = 'UPDATE' AND NOT EXISTS (
        SELECT FROM unnest(TG_ARGV) AS decisive
        WHERE to_jsonb(OLD) -> decisive IS DISTINCT FROM to_jsonb(NEW) -> decisive
    ) THEN
        RETURN NULL;
    END IF;
    INSERT INTO devices_accessversion AS current (id, version) VALUES (1, 1)
    ON CONFLICT (id) DO UPDATE SET version = current.version + 1
    WHERE current.xmin <> pg_current_xact_id()::xid;
    RETURN NULL;
END
$$
"""


class NotDistributed(CommandError):
    """The database is not as DISTRIBUTED says."""


def distribute() -> list[str]:
    """Distributes what is not distributed yet; returns the names of these tables. Existing rows are moved.

    Raises NotDistributed without Citus, and DatabaseError. It can be repeated after a failure.
    """
    require_citus()
    done = []
    with connection.cursor() as cursor:
        cursor.execute(RAISE_ACCESS_VERSION)
    keep_others_local()
    known = places()
    for table in REFERENCE:
        if table not in known:
            make("SELECT create_reference_table(%s)", [table])
            done.append(table)
    for table in PER_DEVICE:
        if table not in known:
            beside = "default" if table == PER_DEVICE[0] else PER_DEVICE[0]
            make("SELECT create_distributed_table(%s, 'device_id', colocate_with => %s)", [table, beside])
            done.append(table)
    if done:
        go_on_numbering()
    return done


def keep_others_local() -> None:
    """Removes the constraints by which Citus would take over tables that only the coordinator has.

    Django deletes rows that refer to a deleted one without them. A table that was taken over stays so.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(DRAWING_KEYS, {"reference": list(REFERENCE), "per_device": list(PER_DEVICE)})
        for table, key in cursor.fetchall():
            name, constraint = map(connection.ops.quote_name, (table, key))
            cursor.execute(f"ALTER TABLE {name} DROP CONSTRAINT {constraint}")


def make(statement: str, parameters: list[str]) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute("SET LOCAL lock_timeout = 0")
        cursor.execute("SET LOCAL citus.multi_shard_modify_mode = 'sequential'")
        # Ours do the same wherever they run: one refuses updates of readings, the other is RAISE_ACCESS_VERSION.
        cursor.execute("SET LOCAL citus.enable_unsafe_triggers = on")
        cursor.execute(statement, parameters)


def go_on_numbering() -> None:
    """Sets all identity columns to their largest values, because Citus makes tables anew and begins with 1."""
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), apps.get_models(include_auto_created=True)):
            cursor.execute(statement)


def require_citus() -> None:
    """Raises NotDistributed if the database is no PostgreSQL with Citus."""
    if connection.vendor != "postgresql":
        raise NotDistributed(ON_SQLITE)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_extension WHERE extname = 'citus'")
        if cursor.fetchone() is None:
            raise NotDistributed(WITHOUT_CITUS)


def places() -> dict[str, tuple[str, int, str | None]]:
    """(`h` for distributed, `n` for reference; group of colocated tables; the column that decides), by table."""
    with connection.cursor() as cursor:
        cursor.execute(PLACES)
        return {table: (str(method), int(group), column) for table, method, group, column in cursor.fetchall()}


def require_distribution() -> None:
    """Raises NotDistributed if DISTRIBUTED is true and a table is not where it belongs. For the start of a process.

    A statistics table that a migration had made anew, undistributed, would give wrong statistics without an error.
    """
    if not settings.DISTRIBUTED:
        return
    require_citus()
    if found := list(faults(places())):
        raise NotDistributed(f"{' '.join(found)} Run `manage.py distribute`.")


def faults(known: dict[str, tuple[str, int, str | None]]) -> Iterator[str]:
    group = known.get(PER_DEVICE[0], ("", 0, None))[1]
    for table in REFERENCE:
        if known.get(table, ("",))[0] != "n":
            yield f"{table} is not a reference table."
    for table in PER_DEVICE:
        method, own_group, column = known.get(table, ("", 0, None))
        if method != "h" or column != "device_id":
            yield f"{table} is not distributed by device_id."
        elif own_group != group:
            yield f"{table} is not colocated with {PER_DEVICE[0]}."
