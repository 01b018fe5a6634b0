"""Tables for readings compressed by columns. Nothing is sealed yet, so this takes no time.

An earlier version cannot read segments: turn them back into rows first.
"""

from django.core.management.base import CommandError
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

CREATE = {
    "postgresql": [
        # Deflated already, and read as a whole.
        "ALTER TABLE readings_segment ALTER COLUMN data SET STORAGE EXTERNAL",
        """
        CREATE TRIGGER readings_segment_immutable BEFORE UPDATE ON readings_segment
        FOR EACH ROW EXECUTE FUNCTION readings_reading_refuse_update()
        """,
    ],
    "sqlite": [
        """
        CREATE TRIGGER readings_segment_immutable BEFORE UPDATE ON readings_segment
        BEGIN
            SELECT RAISE(ABORT, 'readings are immutable');
        END
        """,
    ],
}
DROP = {
    "postgresql": ["DROP TRIGGER readings_segment_immutable ON readings_segment"],
    "sqlite": ["DROP TRIGGER readings_segment_immutable"],
}
STILL_SEALED = (
    "Readings are sealed, which the earlier version cannot read. Run `manage.py migrate`, then `SEAL_AFTER_DAYS=0 manage.py "
    "unseal`, and reverse the migrations again."
)


def prepare(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in CREATE[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


def refuse_if_sealed(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    # First, because it locks the table, so that nothing is sealed after the look.
    for statement in DROP[schema_editor.connection.vendor]:
        schema_editor.execute(statement)
    if apps.get_model("readings", "Segment").objects.exists():
        raise CommandError(STILL_SEALED)


def device() -> "models.ForeignKey[object, object]":
    return models.ForeignKey(
        "devices.device",
        to_field="device_id",
        on_delete=models.PROTECT,
        related_name="+",
        db_column="device_id",
        db_index=False,
    )


class Migration(migrations.Migration):
    dependencies = [("devices", "0015_sealed_seq"), ("readings", "0010_metrics")]

    operations = [
        migrations.CreateModel(
            name="Segment",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "device_id", "first_seq", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("device", device()),
                ("first_seq", models.BigIntegerField()),
                ("last_seq", models.BigIntegerField()),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                ("count", models.PositiveSmallIntegerField()),
                ("late", models.BooleanField()),
                ("data", models.BinaryField()),
            ],
            options={
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["device", "first_at"], name="readings_segment_first_at"),
                    models.Index(fields=["device", "last_at"], name="readings_segment_last_at"),
                ],
            },
        ),
        migrations.CreateModel(
            name="SealedId",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "device_id", "id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("device", device()),
                ("id", models.UUIDField()),
                ("seq", models.BigIntegerField()),
            ],
            options={"default_permissions": ()},
        ),
        migrations.CreateModel(
            name="ReceiptMark",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "device_id", "noted_at", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("device", device()),
                ("noted_at", models.DateTimeField()),
                ("seq", models.BigIntegerField()),
            ],
            options={"default_permissions": ()},
        ),
        migrations.RunPython(prepare, refuse_if_sealed),
    ]
