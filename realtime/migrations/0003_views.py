from django.db import migrations, models

from devices.database.reversible import CreateKeptModel


class Migration(migrations.Migration):
    dependencies = [("realtime", "0002_tickets_know_their_issuer")]

    operations = [
        CreateKeptModel(
            name="View",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=100, unique=True)),
                ("query", models.CharField(max_length=12000)),
                ("created_by", models.CharField(max_length=150)),
                ("created_at", models.DateTimeField()),
            ],
            options={"default_permissions": ("view", "add", "delete")},
        ),
    ]
