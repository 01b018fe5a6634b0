"""The state rows, which every commit updates, on PostgreSQL."""

import time

import pytest
from django.db import connection
from django.utils import timezone

from devices.models import Device, DeviceState
from devices.states import Advance

# Alone, because a page cannot be cleaned while any transaction of the server is older, also in another database.
pytestmark = [pytest.mark.alone, pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


def updates(table: str) -> tuple[int, int]:
    """All updates of rows of the table so far, and those that touched no index."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(
            "SELECT pg_stat_get_tuples_updated(oid), pg_stat_get_tuples_hot_updated(oid)"
            " FROM pg_class WHERE relname = %s",
            [table],
        )
        all_of_them, without_index = cursor.fetchone()
    return all_of_them, without_index


def wait_for_older_snapshots() -> None:
    """Until no other connection to this database, such as autovacuum's ANALYZE, can still see replaced rows.

    PostgreSQL cleans a page of replaced rows only then, and only a cleaned page has room for the next update.
    """
    deadline = time.monotonic() + 30
    with connection.cursor() as cursor:
        while True:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xmin IS NOT NULL"
            )
            (others,) = cursor.fetchone()
            if not others:
                return
            assert time.monotonic() < deadline, "another connection has kept a snapshot for 30 s"
            time.sleep(0.02)


def advance_all(seq: int) -> None:
    DeviceState.objects.advance([Advance(f"state-{number}", seq) for number in range(300)], seen_at=timezone.now())


def test_nearly_all_updates_of_state_rows_touch_no_index():
    for number in range(300):
        Device.objects.register(device_id=f"state-{number}")
    advance_all(1)  # the rows grow with their first reading, and some move to another page
    before = updates("devices_devicestate")

    for seq in range(2, 7):
        wait_for_older_snapshots()
        advance_all(seq)

    updated, without_index = (
        after - earlier for after, earlier in zip(updates("devices_devicestate"), before, strict=True)
    )
    assert updated == 1500
    # Not all: a snapshot can be taken after wait_for_older_snapshots.
    assert without_index > 0.9 * updated
