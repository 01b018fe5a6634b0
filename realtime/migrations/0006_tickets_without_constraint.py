"""A ticket names its device without a constraint: it would draw the tables of accounts into a distributed database.

Deleting a device deletes its tickets, as before, and they live for 30 seconds.
"""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0012_api_tokens"),
        ("realtime", "0005_shares"),
    ]

    operations = [
        migrations.AlterField(
            model_name="ticket",
            name="device",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="devices.device",
            ),
        ),
    ]
