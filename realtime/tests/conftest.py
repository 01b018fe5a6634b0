import pytest
from django.conf import settings

from realtime.stream import replays

# These tests need Redis; the suite's second run, on PostgreSQL and Redis, has it.
collect_ignore = [] if settings.REDIS_URL else ["announcing/test_layers.py"]


@pytest.fixture
def reads(monkeypatch):
    """Records every read of logs: a list with the `after` positions of each read."""
    asked = []
    read = replays.read

    def counting(after, until, limit):
        asked.append(dict(after))
        return read(after, until, limit)

    monkeypatch.setattr(replays, "read", counting)
    return asked
