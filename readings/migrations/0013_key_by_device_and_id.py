"""The primary key becomes `(id, device_id)`, because an `id` is unique for its device only.

`id` comes first, because the ids that the server gives rise with time: an index that begins with the device costs COPY of
1,000 devices a quarter more CPU (docs/decisions/0052-make-an-id-unique-for-its-device.md).

For Django `id` stays the key of the model, because the admin refuses composite keys; so this changes no state. A later
migration that lets Django remake the table on SQLite would make `id` alone the key again: put `key_by_device` behind
it. The test "the same id of two devices is two readings" notices.

On PostgreSQL the table stays open for reading and writing while the index is built, however long that takes; only the
exchange of the keys locks it, for milliseconds. What a cancelled attempt left behind is used if it is whole, and built
again if it is not. On SQLite the table is remade in one transaction.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError
from django.db import IntegrityError, OperationalError, migrations, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from devices.database.errors import attribute_of

TABLE, KEY = "readings_reading", "readings_reading_pkey"
BY_DEVICE, BY_ID = ["id", "device_id"], ["id"]
# The indexes that become the key. Each direction has its own name, so that neither takes what the other one left.
INDEX_BY_DEVICE, INDEX_BY_ID = "readings_reading_key_by_device", "readings_reading_key_by_id"

# A lock that waits for a long export keeps everybody else waiting behind it, so it waits briefly and often.
LOCK_TIMEOUT, LOCK_NOT_AVAILABLE = "1s", "55P03"
LOCK_ATTEMPTS, LOCK_PAUSE_SECONDS = 300, 1.0

CACHE_KIB = 256 * 1024

# The key in the SQL of the table, as Django writes it for SQLite and as this migration does.
SQLITE_KEY_BY_ID = '"id" char(32) NOT NULL PRIMARY KEY'
SQLITE_ID = '"id" char(32) NOT NULL'
SQLITE_KEY_BY_DEVICE = ', PRIMARY KEY ("id", "device_id"))'
SHARED_ID = (
    "Not reversed: two devices have stored readings with the same id, which the earlier version cannot keep. Nothing "
    "was changed."
)


def key_by_device(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    exchange(editor, BY_DEVICE, INDEX_BY_DEVICE, obsolete=INDEX_BY_ID)


def key_by_id(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    try:
        exchange(editor, BY_ID, INDEX_BY_ID, obsolete=INDEX_BY_DEVICE)
    except IntegrityError as error:
        raise CommandError(SHARED_ID) from error


def exchange(editor: Any, columns: list[str], index: str, *, obsolete: str) -> None:
    with editor.connection.cursor() as cursor:
        key = editor.connection.introspection.get_primary_key_columns(cursor, TABLE)
    if sorted(key) == sorted(columns):  # Django names them in the order of the table on SQLite
        return
    if editor.connection.vendor == "postgresql":
        build(editor, columns, index, obsolete=obsolete)
        take_as_key(editor, index)
    else:
        remake(editor, columns)


def build(editor: Any, columns: list[str], index: str, *, obsolete: str) -> None:
    """Builds the unique index without a deadline and without a lock that others notice."""
    editor.execute("SET statement_timeout = 0")
    try:
        editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {obsolete}")
        if not is_valid(editor, index):
            editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")
            editor.execute(f"CREATE UNIQUE INDEX CONCURRENTLY {index} ON {TABLE} ({', '.join(columns)})")
    except IntegrityError:
        editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")
        raise
    finally:
        editor.execute("RESET statement_timeout")


def is_valid(editor: Any, index: str) -> bool:
    with editor.connection.cursor() as cursor:
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [index])
        return bool(cursor.fetchone() == (True,))


def take_as_key(editor: Any, index: str) -> None:
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            with transaction.atomic(using=editor.connection.alias):
                editor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                editor.execute(
                    f"ALTER TABLE {TABLE} DROP CONSTRAINT {KEY}, ADD CONSTRAINT {KEY} PRIMARY KEY USING INDEX {index}"
                )
        except OperationalError as error:
            if attribute_of(error, "sqlstate") != LOCK_NOT_AVAILABLE or attempt == LOCK_ATTEMPTS:
                raise
            time.sleep(LOCK_PAUSE_SECONDS)
        else:
            return


@contextmanager
def large_cache(editor: Any) -> Iterator[None]:
    """Room for the pages at which the logs of thousands of devices end: without it, a copy takes five times the CPU."""
    with editor.connection.cursor() as cursor:
        cursor.execute("PRAGMA cache_size")
        (usual,) = cursor.fetchone()
        cursor.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        try:
            yield
        finally:
            cursor.execute(f"PRAGMA cache_size = {usual}")


def remake(editor: Any, columns: list[str]) -> None:
    """Copies the table into one with the other key, with its indexes and triggers as the database has them."""
    with large_cache(editor), transaction.atomic(using=editor.connection.alias), editor.connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = %s", [TABLE])
        (created,) = cursor.fetchone()
        cursor.execute(
            "SELECT sql FROM sqlite_master WHERE tbl_name = %s AND type IN ('index', 'trigger') AND sql IS NOT NULL",
            [TABLE],
        )
        others = [sql for (sql,) in cursor.fetchall()]
        description = editor.connection.introspection.get_table_description(cursor, TABLE)
        copied = ", ".join(editor.quote_name(column.name) for column in description)
        cursor.execute(with_key(created, columns))
        cursor.execute(f"INSERT INTO new_{TABLE} ({copied}) SELECT {copied} FROM {TABLE}")  # noqa: S608
        cursor.execute(f"DROP TABLE {TABLE}")
        cursor.execute(f"ALTER TABLE new_{TABLE} RENAME TO {TABLE}")
        for sql in others:
            cursor.execute(sql)


def with_key(created: str, columns: list[str]) -> str:
    """The statement that creates the table, with the key over these columns and the name of the new table."""
    if columns == BY_DEVICE:
        changes = [(SQLITE_KEY_BY_ID, SQLITE_ID), (")", SQLITE_KEY_BY_DEVICE)]
    else:
        changes = [(SQLITE_ID, SQLITE_KEY_BY_ID), (SQLITE_KEY_BY_DEVICE, ")")]
    changes.append((f'TABLE "{TABLE}"', f'TABLE "new_{TABLE}"'))
    for old, new in changes:
        head, found, tail = created.rpartition(old)
        if not found:
            raise CommandError(f"The table {TABLE} was changed by hand: {old!r} is missing in {created!r}.")
        created = f"{head}{new}{tail}"
    return created


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("readings", "0012_id_key")]

    operations = [migrations.RunPython(key_by_device, key_by_id)]
