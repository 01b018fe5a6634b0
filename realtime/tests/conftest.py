from django.conf import settings

from devices.tests.fixtures import *  # noqa: F403  pytest finds fixtures where they stand

# About Redis alone: the suite's second run, on PostgreSQL and Redis, has them.
collect_ignore = [] if settings.REDIS_URL else ["test_layers.py"]
