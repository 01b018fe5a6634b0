"""On PostgreSQL: lets updates of evaluation states stay on their page and touch no index (heap-only tuples).

An evaluation updates states of each device with new readings, often all rows of a page. With room for all of them on
the same page, new versions of rows need no new index entries, which are most of the work. The index for LIKE on
`device_id`, which Django creates beside that of the foreign key, has no user.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

LIKE_INDEX = "alarms_evaluationstate_device_id_1fb3f772_like"


def make_room(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE alarms_evaluationstate SET (fillfactor = 40)")
        schema_editor.execute(f"DROP INDEX IF EXISTS {LIKE_INDEX}")


def as_before(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            f"CREATE INDEX IF NOT EXISTS {LIKE_INDEX} ON alarms_evaluationstate (device_id varchar_pattern_ops)"
        )
        schema_editor.execute("ALTER TABLE alarms_evaluationstate RESET (fillfactor)")


class Migration(migrations.Migration):
    dependencies = [("alarms", "0007_tag_mutes")]

    operations = [migrations.RunPython(make_room, as_before)]
