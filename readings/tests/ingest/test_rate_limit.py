"""`DEVICE_RATE_LIMIT`: a device that posts too often is told to wait."""

import pytest

from devices.access import throttling
from devices.access.throttling import Rate, RateLimit
from devices.tests.fixtures import problem
from readings.models import Reading

READING = {"temperature": 21.5}


@pytest.fixture
def two_a_minute(settings):
    settings.DEVICE_RATE_LIMIT = "2/m"
    throttling.limit_of.cache_clear()


@pytest.fixture
def clock(monkeypatch):
    """A clock that only changes when the test moves it."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(throttling, "time", clock)
    return clock


def post(client, path="", document=READING):
    return client.post(f"/api/v1/ingest{path}", document)


def test_a_device_that_posts_too_often_gets_a_429_that_says_when_to_come_again(two_a_minute, clock, as_device):
    assert [post(as_device).status_code for _ in range(2)] == [201, 201]
    clock.now += 7.5

    refused = post(as_device)

    document = problem(refused, 429)
    assert document["code"] == "rate_exceeded"
    assert "DEVICE_RATE_LIMIT" in document["detail"]
    assert refused["Retry-After"] == "23"
    assert Reading.objects.count() == 2


def test_it_may_post_again_when_it_has_waited_so_long(two_a_minute, clock, as_device):
    post(as_device), post(as_device)
    clock.now += int(post(as_device)["Retry-After"])
    assert post(as_device).status_code == 201
    assert post(as_device).status_code == 429


def test_a_batch_counts_once(two_a_minute, clock, as_device):
    answers = [post(as_device, "/batch", [READING] * 50).status_code for _ in range(3)]
    assert answers == [201, 201, 429]


def test_one_device_does_not_use_up_anothers_share(two_a_minute, clock, as_device, as_other_device):
    assert [post(as_device).status_code for _ in range(3)] == [201, 201, 429]
    assert post(as_other_device).status_code == 201


def test_a_gateway_is_not_limited(two_a_minute, clock, device, fleet):
    assert {post(fleet, document=READING | {"device_id": "mote-1"}).status_code for _ in range(5)} == {201}


def test_who_is_not_known_hears_so_first(two_a_minute, clock, as_device, anyone):
    post(as_device), post(as_device)
    assert post(anyone).status_code == 401


def test_what_is_malformed_counts_too(two_a_minute, clock, as_device):
    assert [post(as_device, document={"nonsense": True}).status_code for _ in range(3)] == [422, 422, 429]


def test_without_a_limit_there_is_none(as_device):
    assert {post(as_device).status_code for _ in range(20)} == {201}


@pytest.mark.parametrize(("count", "period"), [(1, 1), (10, 1), (7, 60), (3, 86_400)])
def test_a_device_that_keeps_to_the_rate_is_never_refused(count, period):
    limit = RateLimit(Rate(count, period))
    assert not any(limit.take("a", now=n * period / count) for n in range(1000))


def test_in_the_long_run_no_more_pass_than_the_rate_allows():
    limit = RateLimit(Rate(10, 60))
    passed = sum(not limit.take("a", now=second / 2) for second in range(2 * 600))
    assert passed == 10 + 600 // 6 - 1


def test_it_forgets_who_has_been_silent():
    limit = RateLimit(Rate(1, 1))
    for number in range(10_000):
        limit.take(f"d-{number}", now=number * 0.01)
    assert len(limit.full_at) <= 2 * throttling.REMEMBERED_MIN
