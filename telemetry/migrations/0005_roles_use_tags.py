"""Gives the groups that exist already the permissions for tags that new groups have from the start."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

# As in `telemetry.console.roles`, which creates missing groups later, after `migrate`.
OPERATE = ("view", "add", "change", "delete")
ADDED = {"Viewers": ("view",), "Operators": OPERATE, "Administrators": OPERATE}


def add(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    groups = apps.get_model("auth", "Group").objects.filter(name__in=ADDED)
    permissions = apps.get_model("auth", "Permission").objects
    kinds = apps.get_model("contenttypes", "ContentType").objects
    for group in groups:
        for word in ADDED[group.name]:
            kind, _ = kinds.get_or_create(app_label="devices", model="tag")
            named = {"name": f"Can {word} tag"}
            permission, _ = permissions.get_or_create(content_type=kind, codename=f"{word}_tag", defaults=named)
            group.permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [
        ("telemetry", "0004_roles_use_views"),
        ("devices", "0010_tags"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
