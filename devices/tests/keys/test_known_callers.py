from datetime import UTC, datetime, timedelta

import pytest

from devices.access import known_callers
from devices.access.callers import Caller, LookUp, Role
from devices.access.known_callers import KnownCallers

NOW = datetime(2026, 5, 9, 14, tzinfo=UTC)
FOREVER = 1e12  # in seconds of the monotonic clock


def caller(key_hash, *, version=7, until=None):
    return Caller(role=Role.DEVICE, found=LookUp(key_hash, version, until))


@pytest.fixture
def known():
    known = KnownCallers()
    known.put(caller("a"), read_at=FOREVER)
    return known


def test_a_caller_is_known_while_the_version_is_that_of_its_look_up(known):
    assert known.get("a", now=NOW) == caller("a")
    known.saw(8, read_at=FOREVER)
    assert known.get("a", now=NOW) is None
    known.put(caller("a", version=8), read_at=FOREVER)
    assert known.get("a", now=NOW) == caller("a")
    assert known.get("b", now=NOW) is None


def test_a_caller_is_known_only_while_the_version_was_read_a_moment_ago(known):
    known.saw(7, read_at=-1e12)
    assert known.get("a", now=NOW) is None


def test_a_caller_is_known_until_its_key_expires(known):
    end = NOW + timedelta(minutes=1)
    known.put(caller("a", until=end), read_at=FOREVER)
    assert known.get("a", now=end - timedelta(microseconds=1)) is not None
    assert known.get("a", now=end) is None


def test_what_was_found_at_a_version_is_forgotten_with_it(known):
    """After a failover, the version can be lower, and then the same again after another change."""
    known.saw(6, read_at=FOREVER)
    known.saw(7, read_at=FOREVER)
    assert known.get("a", now=NOW) is None


def test_the_key_that_was_not_used_for_the_longest_time_is_forgotten(known, monkeypatch):
    monkeypatch.setattr(known_callers, "KEYS_MAX", 3)
    for key_hash in "bc":
        known.put(caller(key_hash), read_at=FOREVER)
    known.get("a", now=NOW)
    known.put(caller("d"), read_at=FOREVER)
    assert list(known.callers) == ["c", "a", "d"]
