"""Empties the test database after a transactional test, several times as fast as Django's `flush`.

Django truncates every table and then makes the content types, permissions and groups anew, which takes longer than most
tests. This command keeps those, unless a test changed them, and deletes the rows of the tables that have any. Then it
stores the common metrics again, which the migrations have made.
"""

from typing import Any

from django.core.management import get_commands
from django.core.management.commands import flush
from django.db import connection, transaction

from readings.models import Metric

# Tables whose rows come from `migrate`, not from tests.
KEPT = ("django_content_type", "auth_permission", "auth_group", "auth_group_permissions", "readings_idkey")

Rows = list[list[tuple[Any, ...]]]


class QuickFlush(flush.Command):
    """Replaces `flush` for the tests of a run. Call `remember` after `migrate`."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: Rows | None = None
        self.metrics: list[Metric] = []

    def remember(self) -> None:
        self.kept = kept_rows()
        self.metrics = list(Metric.objects.all())

    def handle(self, **options: Any) -> None:
        if kept_rows() != self.kept:
            super().handle(**options)
            self.kept = kept_rows()
        else:
            with transaction.atomic(), connection.cursor() as cursor:
                for table in tables_with_rows():
                    cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")
        Metric.objects.bulk_create(self.metrics, ignore_conflicts=True)


def install() -> QuickFlush:
    command = QuickFlush()
    get_commands()["flush"] = command  # type: ignore[assignment]  # as call_command accepts it
    return command


def kept_rows() -> Rows:
    with connection.cursor() as cursor:
        rows = []
        for table in KEPT:
            cursor.execute(f"SELECT * FROM {table} ORDER BY id")
            rows.append(cursor.fetchall())
        return rows


def tables_with_rows() -> list[str]:
    tables = set(connection.introspection.django_table_names(only_existing=False, include_views=False)) - {
        *KEPT,
        "django_migrations",
    }
    queries = (f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {table})" for table in sorted(tables))
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(queries))
        return [table for (table,) in cursor.fetchall()]
