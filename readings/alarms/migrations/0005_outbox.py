import django.db.models.deletion
from django.db import migrations, models

import readings.log.ids
from devices.database.reversible import CreateKeptModel, KeepValues


class Migration(migrations.Migration):
    dependencies = [("alarms", "0004_device_mutes")]

    operations = [
        migrations.AddField(model_name="alarm", name="told_at", field=models.DateTimeField(null=True)),
        migrations.AddField(
            model_name="alarm", name="held", field=models.BooleanField(db_default=False, default=False)
        ),
        KeepValues("alarm", ["told_at", "held"], table="alarms_alarm_kept_0005"),
        migrations.AddIndex(
            model_name="alarm",
            index=models.Index(fields=["rule"], condition=models.Q(("held", True)), name="alarms_held"),
        ),
        CreateKeptModel(
            name="Message",
            fields=[
                (
                    "id",
                    models.UUIDField(default=readings.log.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "type",
                    models.CharField(
                        choices=[
                            ("alarm.opened", "Opened"),
                            ("alarm.resolved", "Resolved"),
                            ("alarm.repeated", "Repeated"),
                        ],
                        max_length=20,
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("release_at", models.DateTimeField()),
                ("released_at", models.DateTimeField(null=True)),
                ("first", models.BooleanField()),
                ("count", models.PositiveIntegerField(default=0)),
                (
                    "rule",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="alarms.rule"
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "indexes": [models.Index(fields=["rule", "type", "release_at"], name="alarms_messages_of_rule")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("released_at", None)), fields=("rule", "type"), name="alarms_one_gathering"
                    )
                ],
            },
        ),
        CreateKeptModel(
            name="MessageAlarm",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "message_id", "alarm_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "message",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="alarms.message",
                    ),
                ),
                (
                    "alarm",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="+", to="alarms.alarm"),
                ),
            ],
            options={"default_permissions": ()},
        ),
        CreateKeptModel(
            name="Delivery",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("delivered", "Delivered"),
                            ("given_up", "Given Up"),
                            ("dropped", "Dropped"),
                        ],
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("tries", models.PositiveIntegerField(default=0)),
                ("first_try_at", models.DateTimeField(null=True)),
                ("next_try_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
                ("blocked_by", models.BigIntegerField(null=True)),
                ("away", models.BooleanField(default=False)),
                ("error", models.CharField(blank=True, max_length=300, verbose_name="last error")),
                (
                    "channel",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="alarms.channel",
                    ),
                ),
                (
                    "message",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="alarms.message",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "waiting")), fields=["channel", "id"], name="alarms_waiting"
                    ),
                    models.Index(fields=["state", "id"], name="alarms_deliveries_by_state"),
                ],
                "constraints": [models.UniqueConstraint(fields=("message", "channel"), name="alarms_one_delivery")],
            },
        ),
        CreateKeptModel(
            name="DeliveryRound",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
            ],
            options={"default_permissions": ()},
        ),
    ]
