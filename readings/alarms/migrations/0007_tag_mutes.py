import django.db.models.deletion
from django.db import migrations, models

from devices.database.reversible import CreateKeptModel


class Migration(migrations.Migration):
    dependencies = [("alarms", "0006_rules_by_tags"), ("devices", "0010_tags")]

    operations = [
        CreateKeptModel(
            name="TagMute",
            fields=[
                (
                    "tag",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="devices.tag",
                    ),
                ),
                ("until", models.DateTimeField()),
            ],
            options={
                "verbose_name": "muted tag",
                "verbose_name_plural": "muted tags",
                "default_permissions": (),
            },
        ),
        migrations.AlterModelOptions(
            name="devicemute",
            options={
                "verbose_name": "muted device",
                "verbose_name_plural": "muted devices",
                "default_permissions": (),
            },
        ),
    ]
