"""Where `distribute` puts the tables of a new database."""

import pytest
from django.db import connection

from devices.database.distribution import PER_DEVICE, REFERENCE, distribute, require_distribution

pytestmark = [pytest.mark.citus, pytest.mark.django_db]


def test_citus_knows_only_the_tables_of_the_log_and_the_copies():
    """Accounts, sessions and alarms stay ordinary tables of the coordinator."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT logicalrelid::text FROM pg_dist_partition")
        assert {table for (table,) in cursor.fetchall()} == {*PER_DEVICE, *REFERENCE}


def test_everything_is_in_its_place_and_distributing_again_does_nothing():
    require_distribution()
    assert distribute() == []
