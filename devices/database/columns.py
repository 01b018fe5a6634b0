"""A migration operation that adds a column to a table with triggers, without making the table anew on SQLite."""

from typing import Any

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState


class AddColumn(migrations.AddField):
    """`AddField` for a field with a constant `db_default`, as one ALTER TABLE on every database.

    Django's own recreates the table on SQLite for each column that is not null, and the triggers of the table are lost.
    SQLite needs only a constant default for such a column.
    """

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        model: Any = to_state.apps.get_model(app_label, self.model_name)
        # Not the editor's own method, which SQLite overrides.
        BaseDatabaseSchemaEditor.add_field(schema_editor, model, model._meta.get_field(self.name))
