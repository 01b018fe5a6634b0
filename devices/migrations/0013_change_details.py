import django.db.models.deletion
from django.db import migrations, models

from devices.database.reversible import CreateKeptModel

VIA = [("console", "console"), ("api_key", "API key"), ("token", "API token"), ("command", "command")]


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0012_api_tokens"),
        ("admin", "0003_logentry_add_action_flag_choices"),
    ]

    operations = [
        CreateKeptModel(
            name="ChangeDetail",
            fields=[
                (
                    "entry",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="detail",
                        serialize=False,
                        to="admin.logentry",
                    ),
                ),
                ("actor", models.CharField(max_length=150)),
                ("via", models.CharField(choices=VIA, max_length=10)),
                ("device_id", models.CharField(blank=True, db_index=True, max_length=64)),
                ("before", models.TextField(default="{}")),
                ("after", models.TextField(default="{}")),
            ],
            options={"default_permissions": ()},
        ),
    ]
