from collections.abc import Iterator

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from devices.database.reversible import CreateKeptModel

# As in devices.0006_access_version, whose function raises the version on PostgreSQL.
DECISIVE = ("token_hash", "user_id", "token_id", "expires_at")
CREATE = """
CREATE CONSTRAINT TRIGGER realtime_share_access AFTER UPDATE OR DELETE ON realtime_share DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION devices_raise_access_version({arguments})
"""
CREATE_SQLITE = """
CREATE TRIGGER realtime_share_access_{event} AFTER {event} ON realtime_share FOR EACH ROW {when}
BEGIN
    INSERT INTO devices_accessversion (id, version) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET version = version + 1;
END
"""


def create(vendor: str) -> Iterator[str]:
    if vendor == "postgresql":
        yield CREATE.format(arguments=", ".join(f"'{column}'" for column in DECISIVE))
        return
    changed = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in DECISIVE)
    yield CREATE_SQLITE.format(event="UPDATE", when=f"WHEN {changed}")
    yield CREATE_SQLITE.format(event="DELETE", when="")


def count_changes(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in create(schema_editor.connection.vendor):
        schema_editor.execute(statement)


def count_no_more(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP TRIGGER realtime_share_access ON realtime_share")
    else:
        schema_editor.execute("DROP TRIGGER realtime_share_access_UPDATE")
        schema_editor.execute("DROP TRIGGER realtime_share_access_DELETE")


class Migration(migrations.Migration):
    dependencies = [
        ("realtime", "0004_tickets_of_tokens"),
        ("devices", "0012_api_tokens"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        CreateKeptModel(
            name="Share",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("token_hash", models.CharField(max_length=64, unique=True)),
                ("hint", models.CharField(max_length=8)),
                ("created_by", models.CharField(max_length=150)),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                (
                    "token",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="devices.apitoken",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "view",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="realtime.view"
                    ),
                ),
            ],
            options={"default_permissions": ("view", "add", "delete")},
        ),
        migrations.RunPython(count_changes, count_no_more),
    ]
