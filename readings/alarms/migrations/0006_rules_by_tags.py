import django.db.models.deletion
from django.db import migrations, models

from devices.database.reversible import CreateKeptModel


class Migration(migrations.Migration):
    dependencies = [("alarms", "0005_outbox"), ("devices", "0010_tags")]

    operations = [
        CreateKeptModel(
            name="RuleTag",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "rule_id", "tag_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "rule",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="alarms.rule",
                    ),
                ),
                (
                    "tag",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="devices.tag"),
                ),
            ],
            options={"default_permissions": ()},
        ),
        migrations.AddField(
            model_name="rule",
            name="tags",
            field=models.ManyToManyField(related_name="+", through="alarms.RuleTag", to="devices.tag"),
        ),
        migrations.AddField(
            model_name="ruledevice",
            name="since",
            field=models.DateTimeField(null=True),
        ),
    ]
