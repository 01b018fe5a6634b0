from django.db import migrations, models


class Migration(migrations.Migration):
    """Nullable or with a default, so that a process of the version before can still note its rounds."""

    dependencies = [
        ("readings", "0006_index_by_time_and_seq"),
    ]

    operations = [
        migrations.AddField("maintenanceround", "boot", models.CharField(blank=True, max_length=64, db_default="")),
        migrations.AddField("maintenanceround", "uptime", models.FloatField(null=True)),
        migrations.AddField("maintenanceround", "trusted_at", models.DateTimeField(null=True)),
        migrations.AddField("maintenanceround", "held_seconds", models.FloatField(null=True)),
    ]
