"""API tokens, and the tags that limit tokens and accounts.

`AccessVersion` also counts what ends the rights of a token, and every change of what a limited caller sees.
"""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from devices.database.reversible import CreateKeptModel

# As in migration 0006: the columns that decide. Of these tables inserted rows count too, where `inserted`.
DECISIVE = {
    "devices_apitoken": ("token_hash", "scopes", "expires_at"),
    "devices_tokentag": ("token_id", "tag_id"),
    "devices_accounttag": ("user_id", "tag_id"),
    "devices_devicetag": ("device_id", "tag_id"),
}
INSERTED = ("devices_tokentag", "devices_accounttag", "devices_devicetag")
CREATE = """
CREATE CONSTRAINT TRIGGER {table}_access AFTER {events} ON {table} DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION devices_raise_access_version({arguments})
"""
CREATE_SQLITE = """
CREATE TRIGGER {table}_access_{event} AFTER {event} ON {table} FOR EACH ROW {when}
BEGIN
    INSERT INTO devices_accessversion (id, version) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET version = version + 1;
END
"""


def count_changes(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for table, columns in DECISIVE.items():
        events = ["UPDATE", "DELETE", *(["INSERT"] if table in INSERTED else [])]
        if schema_editor.connection.vendor == "postgresql":
            arguments = ", ".join(f"'{column}'" for column in columns)
            schema_editor.execute(CREATE.format(table=table, events=" OR ".join(events), arguments=arguments))
            continue
        changed = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in columns)
        for event in events:
            when = f"WHEN {changed}" if event == "UPDATE" else ""
            schema_editor.execute(CREATE_SQLITE.format(table=table, event=event, when=when))


def count_no_more(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for table in DECISIVE:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"DROP TRIGGER {table}_access ON {table}")
            continue
        for event in ("UPDATE", "DELETE", *(["INSERT"] if table in INSERTED else [])):
            schema_editor.execute(f"DROP TRIGGER {table}_access_{event}")


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0011_location_and_notes"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        CreateKeptModel(
            name="ApiToken",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=100, unique=True)),
                ("token_hash", models.CharField(editable=False, max_length=64, unique=True)),
                ("token_hint", models.CharField(editable=False, max_length=16, verbose_name="token starts with")),
                ("scopes", models.CharField(max_length=40)),
                ("created_at", models.DateTimeField()),
                ("created_by", models.CharField(max_length=150)),
                ("expires_at", models.DateTimeField(null=True)),
                ("last_used_at", models.DateTimeField(null=True)),
            ],
            options={"verbose_name": "API token", "default_permissions": ("add", "delete", "view")},
        ),
        CreateKeptModel(
            name="TokenTag",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "token_id", "tag_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "token",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="devices.apitoken",
                    ),
                ),
                (
                    "tag",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="devices.tag"),
                ),
            ],
            options={"default_permissions": ()},
        ),
        CreateKeptModel(
            name="AccountTag",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "user_id", "tag_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "tag",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="devices.tag"),
                ),
            ],
            options={"default_permissions": ()},
        ),
        migrations.AddField(
            model_name="apitoken",
            name="tags",
            field=models.ManyToManyField(related_name="+", through="devices.TokenTag", to="devices.tag"),
        ),
        migrations.RunPython(count_changes, count_no_more),
    ]
