from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("devices", "0014_token_registrations")]

    operations = [
        migrations.AddField("devicestate", "sealed_seq", models.BigIntegerField(db_default=0, default=0)),
    ]
