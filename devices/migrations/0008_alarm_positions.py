from django.db import migrations, models

from devices.database.reversible import KeepValues


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0007_room_for_state_updates"),
    ]

    operations = [
        migrations.AddField(
            model_name="devicestate",
            name="alarms_newest",
            field=models.TextField(db_default="{}", default="{}"),
        ),
        migrations.AddField(
            model_name="devicestate",
            name="alarms_seq",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        KeepValues("devicestate", ["alarms_newest", "alarms_seq"], table="devices_devicestate_kept_0008"),
    ]
