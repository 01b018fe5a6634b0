from django.db import migrations, models

from devices.database.reversible import KeepValues


class Migration(migrations.Migration):
    dependencies = [("devices", "0013_change_details")]

    operations = [
        # Without defaults, so that SQLite does not make the table anew, without its triggers.
        migrations.AddField("apitoken", "registering_since", models.DateTimeField(editable=False, null=True)),
        migrations.AddField("apitoken", "registered_count", models.PositiveIntegerField(editable=False, null=True)),
        KeepValues("apitoken", ["registering_since", "registered_count"], table="devices_apitoken_kept_0014"),
    ]
