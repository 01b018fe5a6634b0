import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Of the state alone: the database stays as it is."""

    dependencies = [
        ("devices", "0005_previous_key_hint"),
        ("readings", "0007_rejections_know_their_caller"),
    ]

    operations = [
        migrations.AlterField(
            model_name="reading",
            name="device",
            field=models.ForeignKey(
                db_column="device_id",
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="devices.device",
                to_field="device_id",
            ),
        ),
    ]
