from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import migrations, models

from devices.database.columns import AddColumn
from devices.database.reversible import KeepValues


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0010_tags"),
    ]

    operations = [
        AddColumn(
            model_name="device",
            name="location",
            field=models.CharField(
                blank=True, db_default="", default="", help_text="Where it is, in words.", max_length=255
            ),
        ),
        AddColumn(
            model_name="device",
            name="latitude",
            field=models.FloatField(
                blank=True,
                help_text="In degrees, north is positive, such as 52.52. With a longitude or not at all.",
                null=True,
                validators=[MinValueValidator(-90), MaxValueValidator(90)],
            ),
        ),
        AddColumn(
            model_name="device",
            name="longitude",
            field=models.FloatField(
                blank=True,
                help_text="In degrees, east is positive, such as 13.405.",
                null=True,
                validators=[MinValueValidator(-180), MaxValueValidator(180)],
            ),
        ),
        AddColumn(
            model_name="device",
            name="notes",
            field=models.TextField(
                blank=True, db_default="", default="", help_text="For people. Devices cannot read it.", max_length=4000
            ),
        ),
        KeepValues("device", ["location", "latitude", "longitude", "notes"], table="devices_device_kept_0010"),
    ]
