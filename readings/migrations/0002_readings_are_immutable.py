"""The database itself refuses to change a stored reading, whoever asks.

On SQLite a later migration that alters this table makes it anew and drops its triggers: put `refuse_updates`
behind such a migration. The test "the database refuses to change a reading" notices.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

CREATE = {
    "postgresql": [
        """
        CREATE FUNCTION readings_reading_refuse_update() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'readings are immutable' USING ERRCODE = 'integrity_constraint_violation';
        END
        $$
        """,
        """
        CREATE TRIGGER readings_reading_immutable BEFORE UPDATE ON readings_reading
        FOR EACH ROW EXECUTE FUNCTION readings_reading_refuse_update()
        """,
    ],
    "sqlite": [
        """
        CREATE TRIGGER readings_reading_immutable BEFORE UPDATE ON readings_reading
        BEGIN
            SELECT RAISE(ABORT, 'readings are immutable');
        END
        """,
    ],
}
DROP = {
    "postgresql": [
        "DROP TRIGGER readings_reading_immutable ON readings_reading",
        "DROP FUNCTION readings_reading_refuse_update()",
    ],
    "sqlite": ["DROP TRIGGER readings_reading_immutable"],
}


def refuse_updates(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in CREATE[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


def allow_updates(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in DROP[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("readings", "0001_initial")]

    operations = [migrations.RunPython(refuse_updates, allow_updates)]
