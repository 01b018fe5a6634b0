from collections import defaultdict

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

KIND = ["caller", "device_id", "key_hint", "address", "code", "field"]


def keep_all(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Rows that differ in their kind differ in it with the detail too."""


def merge(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Merges rows that differ only in their detail into the latest of them, as the earlier version wrote them."""
    rejections = apps.get_model("readings", "Rejection").objects
    kinds = defaultdict(list)
    for rejection in rejections.order_by("-last_at", "-id"):
        kinds[tuple(getattr(rejection, name) for name in KIND)].append(rejection)
    for latest, *earlier in kinds.values():
        if earlier:
            latest.count += sum(rejection.count for rejection in earlier)
            latest.first_at = min(rejection.first_at for rejection in (latest, *earlier))
            latest.save()
            rejections.filter(pk__in=[rejection.pk for rejection in earlier]).delete()


class Migration(migrations.Migration):
    dependencies = [("readings", "0008_maintenance_clock")]

    operations = [
        migrations.RemoveConstraint(model_name="rejection", name="readings_rejection_kind"),
        migrations.AddConstraint(
            model_name="rejection",
            constraint=models.UniqueConstraint(fields=[*KIND, "detail"], name="readings_rejection_kind"),
        ),
        # Last, so that it is the first step backwards.
        migrations.RunPython(keep_all, merge),
    ]
