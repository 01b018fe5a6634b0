"""Lets existing groups do what new ones may: Viewers see changes, Administrators manage API tokens and accounts."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

# App, model and the words of the permissions. As in `telemetry.console.roles`, which creates missing groups later.
CHANGES = ("admin", "logentry", "log entry", ("view",))
ADDED = {
    "Viewers": (CHANGES,),
    "Operators": (CHANGES,),
    "Administrators": (
        CHANGES,
        ("devices", "apitoken", "API token", ("view", "add", "delete")),
        ("auth", "user", "user", ("view", "add", "change", "delete")),
        ("auth", "group", "group", ("view",)),
    ),
}


def add(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    groups = apps.get_model("auth", "Group").objects.filter(name__in=ADDED)
    permissions = apps.get_model("auth", "Permission").objects
    kinds = apps.get_model("contenttypes", "ContentType").objects
    for group in groups:
        for app_label, model, named, words in ADDED[group.name]:
            kind, _ = kinds.get_or_create(app_label=app_label, model=model)
            for word in words:
                name = {"name": f"Can {word} {named}"}
                permission, _ = permissions.get_or_create(content_type=kind, codename=f"{word}_{model}", defaults=name)
                group.permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [
        ("telemetry", "0005_roles_use_tags"),
        ("devices", "0012_api_tokens"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
