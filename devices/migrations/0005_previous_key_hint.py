from django.db import migrations, models

from devices.database.reversible import KeepValues


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0003_latest_values"),
    ]

    operations = [
        migrations.AddField(
            model_name="device",
            name="previous_key_hint",
            field=models.CharField(blank=True, default="", editable=False, max_length=16),
            preserve_default=False,
        ),
        # Not of a device whose key was rotated meanwhile: the kept hint is that of the key before the previous one.
        KeepValues("device", ["previous_key_hint"], table="devices_device_kept_0005", unchanged=["key_hint"]),
    ]
