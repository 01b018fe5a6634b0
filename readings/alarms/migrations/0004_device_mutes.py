import django.db.models.deletion
from django.db import migrations, models

from devices.database.reversible import CreateKeptModel


class Migration(migrations.Migration):
    dependencies = [("alarms", "0003_channels")]

    operations = [
        CreateKeptModel(
            name="DeviceMute",
            fields=[
                (
                    "device",
                    models.OneToOneField(
                        db_column="device_id",
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="devices.device",
                        to_field="device_id",
                    ),
                ),
                ("until", models.DateTimeField()),
            ],
            options={"default_permissions": ()},
        ),
    ]
