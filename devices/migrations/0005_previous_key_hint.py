from django.db import migrations, models


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
    ]
