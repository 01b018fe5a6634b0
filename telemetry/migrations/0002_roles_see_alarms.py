"""Gives the groups that exist already the permissions for alarms that new groups have from the start."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

# Model and codename. As in `telemetry.console.roles`, which creates missing groups later, after `migrate`.
SEE = (("alarm", "view_alarm", "Can view alarm"), ("rule", "view_rule", "Can view rule"))
ACKNOWLEDGE = (("alarm", "acknowledge_alarm", "Can acknowledge alarms"),)
MANAGE = (("rule", "manage_rules", "Can create, change and delete rules, and preview them"),)
ADDED = {
    "Viewers": SEE,
    "Operators": (*SEE, *ACKNOWLEDGE),
    "Administrators": (*SEE, *ACKNOWLEDGE, *MANAGE),
}


def add(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    groups = apps.get_model("auth", "Group").objects.filter(name__in=ADDED)
    permissions = apps.get_model("auth", "Permission").objects
    kinds = apps.get_model("contenttypes", "ContentType").objects
    for group in groups:
        for model, codename, name in ADDED[group.name]:
            kind, _ = kinds.get_or_create(app_label="alarms", model=model)
            permission, _ = permissions.get_or_create(content_type=kind, codename=codename, defaults={"name": name})
            group.permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [
        ("telemetry", "0001_health_probe"),
        ("alarms", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
