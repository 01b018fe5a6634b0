"""On PostgreSQL: lets updates of the state rows stay on their page and touch no index (heap-only tuples).

Every commit updates the state row of each of its devices. PostgreSQL writes a new version of the row; with room on the
same page it needs no new index entries. Half of each page stays free for that. The index for LIKE on `device_id`, which
Django creates beside the primary key, has no user.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

LIKE_INDEX = "devices_devicestate_device_id_b8e00802_like"


def make_room(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE devices_devicestate SET (fillfactor = 50)")
        schema_editor.execute(f"DROP INDEX IF EXISTS {LIKE_INDEX}")


def as_before(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            f"CREATE INDEX IF NOT EXISTS {LIKE_INDEX} ON devices_devicestate (device_id varchar_pattern_ops)"
        )
        schema_editor.execute("ALTER TABLE devices_devicestate RESET (fillfactor)")


class Migration(migrations.Migration):
    dependencies = [("devices", "0006_access_version")]

    operations = [migrations.RunPython(make_room, as_before)]
