from django.db import migrations, models

from devices.database.reversible import KeepValues

CLOCK = ["boot", "uptime", "trusted_at", "held_seconds"]


class Migration(migrations.Migration):
    """Nullable or with a default, so that a process of the version before can still note its rounds."""

    dependencies = [
        ("readings", "0008_device_has_no_readings_manager"),
    ]

    operations = [
        migrations.AddField("maintenanceround", "boot", models.CharField(blank=True, max_length=64, db_default="")),
        migrations.AddField("maintenanceround", "uptime", models.FloatField(null=True)),
        migrations.AddField("maintenanceround", "trusted_at", models.DateTimeField(null=True)),
        migrations.AddField("maintenanceround", "held_seconds", models.FloatField(null=True)),
        KeepValues("maintenanceround", CLOCK, table="readings_maintenanceround_kept_0008"),
    ]
