"""The index by time ends with `seq`, so that a page among many readings of one time is bounded by it.

On PostgreSQL both steps leave the table open for reading and writing, however long they take. What a cancelled attempt
left behind, an invalid index, is dropped by the next one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

OLD = models.Index(fields=["device", "timestamp"], name="readings_reading_device_time")
NEW = models.Index(fields=["device", "timestamp", "seq"], name="readings_reading_time_seq")


@contextmanager
def without_deadline(editor: BaseDatabaseSchemaEditor) -> Iterator[None]:
    """An index of a large table takes longer than any statement of the product may."""
    if editor.connection.vendor != "postgresql":
        yield
        return
    editor.execute("SET statement_timeout = 0")
    try:
        yield
    finally:
        editor.execute("RESET statement_timeout")


def exchange(apps: StateApps, editor: Any, *, old: models.Index, new: models.Index) -> None:
    model = apps.get_model("readings", "Reading")
    with without_deadline(editor):
        if editor.connection.vendor == "postgresql":
            editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {new.name}")
            editor.add_index(model, new, concurrently=True)
            editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {old.name}")
        else:
            editor.execute(f"DROP INDEX IF EXISTS {new.name}")
            editor.add_index(model, new)
            editor.execute(f"DROP INDEX IF EXISTS {old.name}")


def forwards(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    exchange(apps, editor, old=OLD, new=NEW)


def backwards(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    exchange(apps, editor, old=NEW, new=OLD)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("readings", "0005_maintenance_rounds"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(forwards, backwards)],
            state_operations=[
                migrations.AddIndex(model_name="reading", index=NEW),
                migrations.RemoveIndex(model_name="reading", name=OLD.name),
            ],
        ),
    ]
