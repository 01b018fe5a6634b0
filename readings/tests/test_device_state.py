"""What the write path keeps of a device: the length of its log, when it was seen, which reading is the latest."""

from datetime import timedelta
from uuid import uuid4

import pytest

from readings.tests.logs import NOON, at, new, state_of, store

pytestmark = pytest.mark.django_db


def test_the_log_has_the_length_of_what_was_stored(device):
    store([new(), new()])
    store([new()])
    assert state_of().last_seq == 3


def test_a_device_is_seen_when_its_reading_came_not_when_it_was_measured(device):
    store([new(timestamp=at(-86_400))], received_at=NOON)
    assert state_of().last_seen_at == NOON


def test_when_a_device_was_seen_never_goes_back(device):
    store([new()], received_at=at(60))
    store([new()], received_at=at(30))
    assert state_of().last_seen_at == at(60)


def test_a_receipt_replaces_one_that_a_wrong_clock_has_dated_in_the_future(device):
    store([new()], received_at=at(86_400))
    store([new()], received_at=None)
    assert state_of().last_seen_at == at(86_400)
    store([new()], received_at=at(30))
    assert state_of().last_seen_at == at(30)


def test_a_duplicate_is_a_sign_of_life_and_nothing_else(device):
    again = new(id=uuid4())
    store([again], received_at=NOON)
    store([again], received_at=at(60))
    state = state_of()
    assert (state.last_seq, state.last_seen_at, state.latest_at) == (1, at(60), NOON)


def test_only_devices_that_were_heard_of_are_seen(device, other_device):
    taken = uuid4()
    store([new("mote-1", id=taken)])
    store([new("mote-2", id=taken)])
    assert state_of("mote-2").last_seen_at is None


@pytest.mark.parametrize(
    ("calls", "latest"),
    [
        pytest.param([[0]], (1, 0), id="the first"),
        pytest.param([[0], [10]], (2, 10), id="a newer one"),
        pytest.param([[0], [-10]], (1, 0), id="a late arrival"),
        pytest.param([[0, 20, 10]], (2, 20), id="out of order in one call"),
        pytest.param([[0, 20], [10, 15]], (2, 20), id="late arrivals in a call of their own"),
        pytest.param([[0, 20], [10, 30, 25]], (4, 30), id="late and newer mixed"),
        pytest.param([[5, 5, 5]], (3, 5), id="of equal times the last in the log"),
        pytest.param([[5], [5]], (2, 5), id="of equal times in two calls the last in the log"),
        pytest.param([[5], [4.999999]], (1, 5), id="a microsecond late"),
    ],
)
def test_the_latest_reading_is_the_newest_by_its_own_time(device, calls, latest):
    for seconds in calls:
        store(new(timestamp=at(offset)) for offset in seconds)
    state = state_of()
    assert (state.latest_seq, state.latest_at) == (latest[0], NOON + timedelta(seconds=latest[1]))
