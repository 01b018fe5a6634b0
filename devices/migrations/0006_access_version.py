"""A version that the database raises with every commit that may end somebody's right to see readings.

On SQLite a later migration that makes one of these tables anew drops its triggers: put `count_changes` behind such a
migration. The test "every change that may end a right is counted" notices.
"""

from collections.abc import Iterator

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from devices.database.reversible import CreateKeptModel

# Of these tables the columns that decide who may watch. Any row that is deleted counts, an inserted one ends no right.
DECISIVE = {
    "devices_device": ("api_key_hash", "retiring_key_hash", "retiring_key_expires_at", "is_active"),
    "auth_user": ("password", "is_active", "is_staff", "is_superuser"),
    "auth_user_groups": ("user_id", "group_id"),
    "auth_user_user_permissions": ("user_id", "permission_id"),
    "auth_group_permissions": ("group_id", "permission_id"),
    "auth_permission": ("content_type_id", "codename"),
    "django_session": ("session_data", "expire_date"),
}

# Deferred, so that the row is updated as the transaction commits, and once in it: transactions wait for each other no
# longer than a commit takes, and do not deadlock over it. The columns are arguments, because PostgreSQL refuses to
# alter one that a trigger's WHEN names, as a later version of Django may have to.
CREATE = """
CREATE FUNCTION devices_raise_access_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NOT EXISTS (
        SELECT FROM unnest(TG_ARGV) AS decisive
        WHERE to_jsonb(OLD) -> decisive IS DISTINCT FROM to_jsonb(NEW) -> decisive
    ) THEN
        RETURN NULL;
    END IF;
    INSERT INTO devices_accessversion AS current (id, version) VALUES (1, 1)
    ON CONFLICT (id) DO UPDATE SET version = current.version + 1
    WHERE current.xmin <> pg_current_xact_id()::xid;
    RETURN NULL;
END
$$
"""
CREATE_TRIGGER = """
CREATE CONSTRAINT TRIGGER {table}_access AFTER UPDATE OR DELETE ON {table} DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION devices_raise_access_version({arguments})
"""
CREATE_TRIGGER_SQLITE = """
CREATE TRIGGER {table}_access_{event} AFTER {event} ON {table} FOR EACH ROW {when}
BEGIN
    INSERT INTO devices_accessversion (id, version) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET version = version + 1;
END
"""


def create(vendor: str) -> Iterator[str]:
    """The statements that make the triggers."""
    if vendor == "postgresql":
        yield CREATE
    for table, columns in DECISIVE.items():
        if vendor == "postgresql":
            yield CREATE_TRIGGER.format(table=table, arguments=", ".join(f"'{column}'" for column in columns))
            continue
        changed = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in columns)
        yield CREATE_TRIGGER_SQLITE.format(table=table, event="UPDATE", when=f"WHEN {changed}")
        yield CREATE_TRIGGER_SQLITE.format(table=table, event="DELETE", when="")


def drop(vendor: str) -> Iterator[str]:
    for table in DECISIVE:
        if vendor == "postgresql":
            yield f"DROP TRIGGER {table}_access ON {table}"
        else:
            yield f"DROP TRIGGER {table}_access_UPDATE"
            yield f"DROP TRIGGER {table}_access_DELETE"
    if vendor == "postgresql":
        yield "DROP FUNCTION devices_raise_access_version()"


def count_changes(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in create(schema_editor.connection.vendor):
        schema_editor.execute(statement)
    # A version kept from before this migration was reversed: changes were not counted since.
    schema_editor.execute("UPDATE devices_accessversion SET version = version + 1")


def count_no_more(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in drop(schema_editor.connection.vendor):
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0005_previous_key_hint"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("sessions", "0001_initial"),
    ]

    operations = [
        CreateKeptModel(
            name="AccessVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("version", models.BigIntegerField()),
            ],
            options={"default_permissions": ()},
        ),
        migrations.RunPython(count_changes, count_no_more),
    ]
