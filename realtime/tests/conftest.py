import pytest
from django.conf import settings

from devices.tests.fixtures import *  # noqa: F403  pytest finds fixtures where they stand
from realtime.stream import replays

# About Redis alone: the suite's second run, on PostgreSQL and Redis, has them.
collect_ignore = [] if settings.REDIS_URL else ["test_layers.py"]


@pytest.fixture
def reads(monkeypatch):
    """What is read of logs from now on: the positions behind which it is asked for."""
    asked = []
    read = replays.read

    def counting(after, until):
        asked.append(dict(after))
        return read(after, until)

    monkeypatch.setattr(replays, "read", counting)
    return asked
