from django.db import migrations, models

import devices.tags.names
from devices.database.reversible import CreateKeptModel

COLOURS = ("grey", "red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "brown")


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0009_said_offline"),
    ]

    operations = [
        CreateKeptModel(
            name="Tag",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "name",
                    models.CharField(
                        help_text="Such as greenhouse-3. Upper and lower case do not matter.",
                        max_length=200,
                        validators=[devices.tags.names.validate_tag_name],
                    ),
                ),
                ("key", models.CharField(editable=False, max_length=800, unique=True)),
                (
                    "colour",
                    models.CharField(choices=[(colour, colour.title()) for colour in COLOURS], max_length=10),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
        ),
        CreateKeptModel(
            name="DeviceTag",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "device_id", "tag_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "device",
                    models.ForeignKey(
                        db_column="device_id",
                        db_index=False,
                        on_delete=models.CASCADE,
                        related_name="+",
                        to="devices.device",
                        to_field="device_id",
                    ),
                ),
                ("tag", models.ForeignKey(on_delete=models.CASCADE, related_name="+", to="devices.tag")),
            ],
            options={"default_permissions": ()},
        ),
        # The state alone: the rows are in DeviceTag, and SQLite would remake the table of devices, without its triggers.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddField(
                    model_name="device",
                    name="tags",
                    field=models.ManyToManyField(related_name="+", through="devices.DeviceTag", to="devices.tag"),
                ),
            ]
        ),
    ]
