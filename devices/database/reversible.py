"""Migration operations whose reverse keeps the rows or values that it takes out of a model.

A reversed migration would otherwise delete what the earlier version does not know, and a later `migrate` would create
it empty: docs/decisions/0042-keep-what-a-reversed-migration-removes.md. A table of its own has it until the migration
is applied again.
"""

from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState


def exists(editor: BaseDatabaseSchemaEditor, table: str) -> bool:
    with editor.connection.cursor() as cursor:
        return table in editor.connection.introspection.table_names(cursor)


def has_rows(editor: BaseDatabaseSchemaEditor, model: type[models.Model]) -> bool:
    with editor.connection.cursor() as cursor:
        cursor.execute(f"SELECT 1 FROM {model._meta.db_table} LIMIT 1")  # noqa: S608
        return cursor.fetchone() is not None


class CreateKeptModel(migrations.CreateModel):
    """Creates a model. The reverse renames its table to `…_kept` if it has rows; then this renames it back."""

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        table = to_state.apps.get_model(app_label, self.name)._meta.db_table
        if exists(schema_editor, f"{table}_kept"):
            model = to_state.apps.get_model(app_label, self.name)
            schema_editor.alter_db_table(model, f"{table}_kept", table)
        else:
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        model = from_state.apps.get_model(app_label, self.name)
        if has_rows(schema_editor, model):
            schema_editor.alter_db_table(model, model._meta.db_table, f"{model._meta.db_table}_kept")
        else:
            super().database_backwards(app_label, schema_editor, from_state, to_state)

    def describe(self) -> str:
        return f"{super().describe()} (its rows are kept when this is reversed)"


class KeepValues(Operation):
    """Keeps the values of columns that the operations before this one add, when the migration is reversed.

    The reverse copies them into `table`, by primary key; the migration then fills the new columns from there, in rows
    whose `unchanged` columns still have the values they had at the reverse. A deleted row's values are deleted with it.
    """

    reversible = True

    def __init__(self, model_name: str, columns: Sequence[str], *, table: str, unchanged: Sequence[str] = ()) -> None:
        self.model_name, self.columns, self.table, self.unchanged = model_name, columns, table, unchanged

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return (
            type(self).__qualname__,
            [self.model_name, self.columns],
            {
                "table": self.table,
                "unchanged": self.unchanged,
            },
        )

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        pass

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        if exists(schema_editor, self.table):
            self.restore(to_state.apps.get_model(app_label, self.model_name), schema_editor)
            schema_editor.execute(f"DROP TABLE {self.table}")

    def restore(self, model: type[models.Model], editor: BaseDatabaseSchemaEditor) -> None:
        table, key, columns = model._meta.db_table, key_of(model), ", ".join(self.columns)
        same = [f"kept.{key} = {table}.{key}", *(f"kept.{name} = {table}.{name}" for name in self.unchanged)]
        found = f"FROM {self.table} AS kept WHERE {' AND '.join(same)}"
        editor.execute(f"UPDATE {table} SET ({columns}) = (SELECT {columns} {found}) WHERE EXISTS (SELECT 1 {found})")  # noqa: S608

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        table, key = model._meta.db_table, key_of(model)
        # A row without values needs none to be kept, and may be deleted by the reverse of an earlier migration.
        given = " OR ".join(f"{name} IS NOT NULL" for name in self.columns)
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(f"SELECT 1 FROM {table} WHERE {given} LIMIT 1")  # noqa: S608
            if cursor.fetchone() is None:
                return
        names = [key, *self.columns, *self.unchanged]
        types = {field.column: field.db_type(schema_editor.connection) for field in model._meta.local_fields}
        columns = ", ".join(f"{name} {types[name]}" for name in names)
        reference = f"FOREIGN KEY ({key}) REFERENCES {table} ({key}) ON DELETE CASCADE"
        schema_editor.execute(f"CREATE TABLE {self.table} ({columns}, PRIMARY KEY ({key}), {reference})")
        copied = ", ".join(names)
        schema_editor.execute(f"INSERT INTO {self.table} ({copied}) SELECT {copied} FROM {table} WHERE {given}")  # noqa: S608

    def describe(self) -> str:
        return f"Keep {', '.join(self.columns)} of {self.model_name} when this is reversed"


def key_of(model: type[models.Model]) -> str:
    return str(model._meta.pk.column)


class RefuseWhileRows(Operation):
    """Refuses to reverse the migration while the model has rows, because the reverse would delete them."""

    reversible = True

    def __init__(self, model_name: str) -> None:
        self.model_name = model_name

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return type(self).__qualname__, [self.model_name], {}

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        pass

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        pass

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        if has_rows(schema_editor, model):
            raise CommandError(
                f"Not reversed: it would delete every {model._meta.verbose_name} of this installation. Migrations "
                "reversed before this one have kept their data: `manage.py migrate` applies them again. To remove an "
                "installation, drop its database."
            )

    def describe(self) -> str:
        return f"Refuse the reverse while there is a {self.model_name}"
