from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def name_callers(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """As far as it can be told: what names a device that there is came from it, of other devices only gateways tell."""
    rejections = apps.get_model("readings", "Rejection").objects.exclude(device_id="")
    device_ids = apps.get_model("devices", "Device").objects.values("device_id")
    rejections.filter(device_id__in=device_ids).update(caller="device")
    rejections.exclude(device_id__in=device_ids).update(caller="fleet")


def forget_all(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Without their callers two rows may be equal, and a few refused posts are no loss."""
    apps.get_model("readings", "Rejection").objects.all().delete()


KIND = ["device_id", "key_hint", "address", "code", "field"]


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0002_rollup_positions_and_retention"),
        ("readings", "0006_index_by_time_and_seq"),
    ]

    operations = [
        migrations.AddField(
            model_name="rejection",
            name="caller",
            field=models.CharField(default="nobody", max_length=8, verbose_name="sent by"),
            preserve_default=False,
        ),
        migrations.RemoveConstraint(model_name="rejection", name="readings_rejection_kind"),
        migrations.AddConstraint(
            model_name="rejection",
            constraint=models.UniqueConstraint(fields=["caller", *KIND], name="readings_rejection_kind"),
        ),
        migrations.RunPython(name_callers, forget_all),
    ]
