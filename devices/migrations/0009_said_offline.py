from django.db import migrations, models

from devices.database.reversible import KeepValues


class Migration(migrations.Migration):
    dependencies = [("devices", "0008_alarm_positions")]

    operations = [
        migrations.AddField("devicestate", "said_offline_at", models.DateTimeField(null=True)),
        KeepValues("devicestate", ["said_offline_at"], table="devices_devicestate_kept_0009"),
    ]
