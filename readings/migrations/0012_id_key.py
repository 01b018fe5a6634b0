from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from devices.database.reversible import CreateKeptModel


def remove_unused(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """The reverse keeps the key only if there are readings, whose ids can be derived from it."""
    if not apps.get_model("readings", "Reading").objects.exists():
        apps.get_model("readings", "IdKey").objects.all().delete()


class Migration(migrations.Migration):
    dependencies = [("readings", "0011_segments")]

    operations = [
        CreateKeptModel(
            name="IdKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.BinaryField()),
            ],
            options={"default_permissions": ()},
        ),
        migrations.RunPython(migrations.RunPython.noop, remove_unused),
    ]
