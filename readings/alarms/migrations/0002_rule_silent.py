"""The row of the rule set, and the rule *silent* to begin with: inactive, so that it is switched on by one change."""

from datetime import UTC, datetime

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

NAME = "Silent"
TEXT = "Check the device's power, its network, and whether it was moved."


def create(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    now = datetime.now(UTC)
    apps.get_model("alarms", "RuleSet").objects.get_or_create(id=1)
    rules = apps.get_model("alarms", "Rule").objects
    if not rules.exists():
        rules.create(
            name=NAME, kind="silence", severity="warning", text=TEXT, is_active=False, judged_since=now, created_at=now
        )


def remove(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Only if this rule is the only one and still switched off: a rule that was used may have alarms."""
    rules = apps.get_model("alarms", "Rule").objects
    untouched = rules.count() == 1 and rules.filter(name=NAME, is_active=False).exists()
    if untouched and not apps.get_model("alarms", "Alarm").objects.exists():
        rules.all().delete()
        apps.get_model("alarms", "RuleSet").objects.all().delete()


class Migration(migrations.Migration):
    dependencies = [("alarms", "0001_initial")]
    operations = [migrations.RunPython(create, remove)]
