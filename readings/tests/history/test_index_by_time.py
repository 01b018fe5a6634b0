"""The index by time: (device, timestamp, seq)."""

from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from readings.log import reader
from readings.log.reading.by_time import Asked, Window
from readings.models import Reading
from readings.tests.logs import NOON, new, store

OLD, NEW = "readings_reading_device_time", "readings_reading_time_seq"
MIGRATION, BEFORE = "0006", "0005"


def plan(sql: str, parameters: dict[str, Any]) -> str:
    """The query plan of the statement, as for a large table."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET LOCAL enable_bitmapscan = off")
            cursor.execute(f"EXPLAIN {sql}", parameters)
        else:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)
        return "\n".join(str(row[-1]) for row in cursor.fetchall())


@pytest.mark.django_db
@pytest.mark.parametrize("descending", [True, False])
def test_a_page_among_readings_of_one_time_begins_where_the_one_before_ended(device, descending):
    store(new() for _ in range(500))
    page = reader.page(Window("mote-1"), limit=10, descending=descending, beyond=(NOON, 250))
    assert [reading.seq for reading in page] == list(range(249, 239, -1) if descending else range(251, 261))
    asked = Asked(Window("mote-1"), descending=descending, beyond=(NOON, 250))
    found = plan(*asked.statement({}, limit=10, segments=1))
    sign, other = ("<", ">") if descending else (">", "<")
    if connection.vendor == "postgresql":
        assert f'(ROW("timestamp", seq) {sign} ROW(' in found
        of_rows = found[found.index("readings_reading") :].partition("readings_segment")[0]
        assert "Filter" not in of_rows
        assert "Sort" not in of_rows
    else:
        bounds = sorted([f"(timestamp,seq){sign}(?,?)", f"timestamp{other}?"], reverse=descending)
        assert f"INDEX {NEW} (device_id=? AND {' AND '.join(bounds)})" in found
        assert "TEMP B-TREE" not in found


def indexes() -> set[str]:
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, "readings_reading")
    return {name for name, index in found.items() if index["index"]} & {OLD, NEW}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.one_database("Citus refuses a unique index without the device")
def test_the_migration_can_be_undone_and_done_again(device):
    store([new()])
    try:
        call_command("migrate", "readings", BEFORE, verbosity=0)
        assert indexes() == {OLD}
        call_command("migrate", "readings", MIGRATION, verbosity=0)
        assert indexes() == {NEW}
    finally:
        call_command("migrate", verbosity=0)
    assert indexes() == {NEW}
    assert Reading.objects.count() == 1


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.one_database("Citus refuses a unique index without the device")
def test_the_migration_goes_on_where_an_attempt_was_cancelled(device):
    try:
        call_command("migrate", "readings", BEFORE, verbosity=0)
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE INDEX {NEW} ON readings_reading (device_id)")
        call_command("migrate", "readings", MIGRATION, verbosity=0)
        assert indexes() == {NEW}
        with connection.cursor() as cursor:
            found = connection.introspection.get_constraints(cursor, "readings_reading")
        assert found[NEW]["columns"] == ["device_id", "timestamp", "seq"]
    finally:
        call_command("migrate", verbosity=0)
