import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0012_api_tokens"),
        ("realtime", "0003_views"),
    ]

    operations = [
        migrations.AddField(
            model_name="ticket",
            name="token",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="devices.apitoken"
            ),
        ),
    ]
