import django.db.models.deletion
from django.db import migrations, models

from devices.database.reversible import CreateKeptModel, KeepValues


class Migration(migrations.Migration):
    dependencies = [("alarms", "0002_rule_silent")]

    operations = [
        CreateKeptModel(
            name="Channel",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=100)),
                (
                    "kind",
                    models.CharField(
                        choices=[("email", "E-mail"), ("webhook", "Webhook"), ("apprise", "Apprise")], max_length=10
                    ),
                ),
                ("target", models.CharField(max_length=2000)),
                ("target_hint", models.CharField(max_length=400)),
                ("secret", models.CharField(blank=True, max_length=100)),
                ("created_at", models.DateTimeField()),
            ],
            options={"default_permissions": ()},
        ),
        migrations.AddField(model_name="rule", name="repeat", field=models.PositiveIntegerField(null=True)),
        migrations.AddField(model_name="rule", name="muted_until", field=models.DateTimeField(null=True)),
        KeepValues("rule", ["repeat", "muted_until"], table="alarms_rule_kept_0003"),
        CreateKeptModel(
            name="RuleChannel",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "rule_id", "channel_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "rule",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="alarms.rule"
                    ),
                ),
                (
                    "channel",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="alarms.channel"
                    ),
                ),
            ],
            options={"default_permissions": ()},
        ),
        migrations.AddField(
            model_name="rule",
            name="channels",
            field=models.ManyToManyField(related_name="+", through="alarms.RuleChannel", to="alarms.channel"),
        ),
    ]
