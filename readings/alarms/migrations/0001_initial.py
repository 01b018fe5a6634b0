import django.db.models.deletion
from django.db import migrations, models

import readings.log.ids
from devices.database.reversible import CreateKeptModel


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("devices", "0008_alarm_positions"),
    ]

    operations = [
        CreateKeptModel(
            name="Reception",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField()),
            ],
            options={
                "default_permissions": (),
            },
        ),
        CreateKeptModel(
            name="Rule",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=100)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("threshold", "Threshold"),
                            ("silence", "Silence"),
                            ("stuck", "Stuck"),
                            ("rate", "Rate"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "severity",
                    models.CharField(
                        choices=[("info", "Info"), ("warning", "Warning"), ("critical", "Critical")],
                        default="warning",
                        max_length=10,
                    ),
                ),
                ("metric", models.CharField(blank=True, max_length=63)),
                ("above", models.FloatField(null=True)),
                ("below", models.FloatField(null=True)),
                ("for_seconds", models.PositiveIntegerField(null=True, verbose_name="for")),
                ("clear_margin", models.FloatField(null=True)),
                ("clear_for", models.PositiveIntegerField(null=True)),
                ("seconds", models.PositiveIntegerField(null=True)),
                ("tolerance", models.FloatField(null=True)),
                ("change", models.FloatField(null=True)),
                ("per", models.PositiveIntegerField(null=True)),
                ("text", models.CharField(blank=True, max_length=2000, verbose_name="what to do")),
                ("for_all_devices", models.BooleanField(default=True)),
                ("is_active", models.BooleanField(default=True, verbose_name="active")),
                ("judged_since", models.DateTimeField()),
                ("created_at", models.DateTimeField()),
                ("deleted_at", models.DateTimeField(null=True)),
            ],
            options={
                "permissions": [("manage_rules", "Can create, change and delete rules, and preview them")],
                "default_permissions": ("view",),
            },
        ),
        CreateKeptModel(
            name="RuleSet",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("version", models.BigIntegerField(default=0)),
            ],
            options={
                "default_permissions": (),
            },
        ),
        CreateKeptModel(
            name="EvaluationState",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "rule_id", "device_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("after_seq", models.BigIntegerField(default=0)),
                ("state", models.TextField(default="{}")),
                ("heard_at", models.DateTimeField(null=True)),
                (
                    "device",
                    models.ForeignKey(
                        db_column="device_id",
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="devices.device",
                        to_field="device_id",
                    ),
                ),
                (
                    "rule",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="alarms.rule"
                    ),
                ),
            ],
            options={
                "default_permissions": (),
            },
        ),
        CreateKeptModel(
            name="RuleDevice",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "rule_id", "device_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "device",
                    models.ForeignKey(
                        db_column="device_id",
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="devices.device",
                        to_field="device_id",
                    ),
                ),
                (
                    "rule",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="alarms.rule"
                    ),
                ),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.AddField(
            model_name="rule",
            name="devices",
            field=models.ManyToManyField(related_name="+", through="alarms.RuleDevice", to="devices.device"),
        ),
        CreateKeptModel(
            name="Alarm",
            fields=[
                (
                    "id",
                    models.UUIDField(default=readings.log.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("metric", models.CharField(blank=True, max_length=63)),
                ("began_at", models.DateTimeField()),
                ("opened_at", models.DateTimeField()),
                ("noticed_at", models.DateTimeField()),
                ("value", models.FloatField(null=True)),
                ("worst", models.FloatField(null=True)),
                ("resolved_at", models.DateTimeField(null=True)),
                (
                    "reason",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("cleared", "Cleared"),
                            ("rule_changed", "Rule Changed"),
                            ("rule_off", "Rule Off"),
                            ("rule_deleted", "Rule Deleted"),
                            ("device_deactivated", "Device Deactivated"),
                        ],
                        max_length=20,
                    ),
                ),
                ("late", models.BooleanField()),
                ("acknowledged_at", models.DateTimeField(null=True)),
                ("acknowledged_by", models.CharField(blank=True, max_length=150)),
                ("comment", models.CharField(blank=True, max_length=1000)),
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
                (
                    "rule",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="alarms.rule"),
                ),
            ],
            options={
                "permissions": [("acknowledge_alarm", "Can acknowledge alarms")],
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(fields=["opened_at", "id"], name="alarms_by_time"),
                    models.Index(
                        condition=models.Q(("resolved_at", None)),
                        fields=["opened_at", "id"],
                        name="alarms_open_by_time",
                    ),
                    models.Index(fields=["device", "opened_at", "id"], name="alarms_of_device"),
                    models.Index(fields=["resolved_at"], name="alarms_by_end"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("resolved_at", None)), fields=("rule", "device"), name="alarms_one_open"
                    )
                ],
            },
        ),
    ]
