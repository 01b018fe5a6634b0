from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("alarms", "0007_tag_mutes")]

    operations = [
        migrations.AddField(model_name="evaluationstate", name="judged_seq", field=models.BigIntegerField(null=True)),
    ]
