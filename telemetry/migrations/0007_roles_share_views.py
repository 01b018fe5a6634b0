"""Gives the groups that exist already the permissions for links to views that new groups have."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

# Codename and name. As in `telemetry.console.roles`, which creates missing groups later, after `migrate`.
SHARE = (
    ("view_share", "Can view share"),
    ("add_share", "Can add share"),
    ("delete_share", "Can delete share"),
)
ADDED = {"Operators": SHARE, "Administrators": SHARE}


def add(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    groups = apps.get_model("auth", "Group").objects.filter(name__in=ADDED)
    permissions = apps.get_model("auth", "Permission").objects
    kinds = apps.get_model("contenttypes", "ContentType").objects
    for group in groups:
        for codename, name in ADDED[group.name]:
            kind, _ = kinds.get_or_create(app_label="realtime", model="share")
            permission, _ = permissions.get_or_create(content_type=kind, codename=codename, defaults={"name": name})
            group.permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [
        ("telemetry", "0006_roles_make_tokens_and_accounts"),
        ("realtime", "0005_shares"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
