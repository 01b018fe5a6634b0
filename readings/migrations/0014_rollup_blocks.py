"""A table for old rollups compressed by columns. Nothing is sealed yet, so this takes no time.

An earlier version cannot read blocks: turn them back into rows first.
"""

import django.db.models.deletion
from django.core.management.base import CommandError
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

CREATE = {
    "postgresql": [
        # Deflated already, and read as a whole.
        "ALTER TABLE readings_rollupblock ALTER COLUMN data SET STORAGE EXTERNAL",
        """
        CREATE TRIGGER readings_rollupblock_immutable BEFORE UPDATE ON readings_rollupblock
        FOR EACH ROW EXECUTE FUNCTION readings_reading_refuse_update()
        """,
    ],
    "sqlite": [
        """
        CREATE TRIGGER readings_rollupblock_immutable BEFORE UPDATE ON readings_rollupblock
        BEGIN
            SELECT RAISE(ABORT, 'blocks of rollups are immutable');
        END
        """,
    ],
}
DROP = {
    "postgresql": ["DROP TRIGGER readings_rollupblock_immutable ON readings_rollupblock"],
    "sqlite": ["DROP TRIGGER readings_rollupblock_immutable"],
}
STILL_SEALED = (
    "Statistics are sealed, which the earlier version cannot read. Run `manage.py migrate`, then `SEAL_AFTER_DAYS=0 manage.py "
    "unseal --statistics`, and reverse the migrations again."
)


def prepare(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in CREATE[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


def refuse_if_sealed(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    # First, because it locks the table, so that nothing is sealed after the look.
    for statement in DROP[schema_editor.connection.vendor]:
        schema_editor.execute(statement)
    if apps.get_model("readings", "RollupBlock").objects.exists():
        raise CommandError(STILL_SEALED)


class Migration(migrations.Migration):
    dependencies = [("readings", "0013_key_by_device_and_id")]

    operations = [
        migrations.CreateModel(
            name="RollupBlock",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "device_id",
                        "seconds",
                        "start",
                        "metric",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "device",
                    models.ForeignKey(
                        db_column="device_id",
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="devices.device",
                        to_field="device_id",
                    ),
                ),
                ("seconds", models.PositiveSmallIntegerField()),
                ("start", models.DateTimeField()),
                ("metric", models.CharField(max_length=63)),
                ("data", models.BinaryField()),
            ],
            options={"default_permissions": ()},
        ),
        migrations.RunPython(prepare, refuse_if_sealed),
    ]
