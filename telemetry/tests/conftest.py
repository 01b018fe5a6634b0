import os

from django.db import connection

from devices.tests.fixtures import *  # noqa: F403  pytest finds fixtures where they stand

# About PostgreSQL alone: the suite's second run, on PostgreSQL and Redis, has them.
collect_ignore = [] if connection.vendor == "postgresql" else ["test_postgresql_stops.py"]
if "PROVE" not in os.environ:  # `make prove`
    collect_ignore.append("proofs")
