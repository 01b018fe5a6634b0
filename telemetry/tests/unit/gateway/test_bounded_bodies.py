"""`BoundedBodies` around a small application: what it accepts, keeps and reads."""

import gzip
import time
import tracemalloc
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from telemetry.gateway.bodies import DISCARD_FACTOR, BoundedBodies

pytestmark = pytest.mark.once

LIMIT = 1 << 20
CHUNK_BYTES = 64 * 1024
DISCONNECT = {"type": "http.disconnect"}


class Application:
    """Records its scope and every event of its body."""

    def __init__(self):
        self.scope = None
        self.events = []

    async def __call__(self, scope, receive, send):
        self.scope = scope
        if scope["type"] == "http":
            self.events = [await receive(), await receive()]

    @property
    def body(self):
        return self.events[0]["body"]


class Client:
    """Sends chunks, then disconnects; counts the requested ones."""

    def __init__(self, chunks):
        self.chunks = iter(chunks)
        self.asked = 0

    async def receive(self):
        self.asked += 1
        chunk = next(self.chunks, None)
        return DISCONNECT if chunk is None else chunk


def parts(*bodies):
    """The events of a body; the last has `more_body` False."""
    return [
        {"type": "http.request", "body": body, "more_body": number < len(bodies)}
        for number, body in enumerate(bodies, start=1)
    ]


def endless():
    while True:
        yield {"type": "http.request", "body": bytes(CHUNK_BYTES), "more_body": True}


def call(chunks, *, limit=LIMIT, **headers):
    """The inner application and the client after one request."""
    application, client = Application(), Client(chunks)
    scope: Any = {
        "type": "http",
        "path": "/api/v1/ingest",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }

    async def send(_event):
        raise AssertionError("nothing to answer here")

    async_to_sync(BoundedBodies(application, limit=limit))(scope, client.receive, send)
    return application, client


def peak_bytes(action):
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_body_comes_in_one_piece_with_its_length():
    application, _ = call(parts(b"ab", b"", b"cde"))

    assert application.events[0] == {"type": "http.request", "body": b"abcde", "more_body": False}
    assert application.scope["headers"] == [(b"content-length", b"5")]


def test_other_headers_stay_as_they_are():
    application, _ = call(parts(b"ab"), x_api_key="key", content_length="99", content_type="application/json")

    assert application.scope["headers"] == [
        (b"x-api-key", b"key"),
        (b"content-type", b"application/json"),
        (b"content-length", b"2"),
    ]


def test_an_inflated_body_has_the_length_it_has_now():
    application, _ = call(parts(gzip.compress(b"a" * 500)), content_encoding="gzip")

    assert application.body == b"a" * 500
    assert application.scope["headers"] == [(b"content-length", b"500")]


def test_after_the_body_the_application_hears_the_client_go():
    application, _ = call(parts(b"ab"))

    assert application.events[1] == DISCONNECT


def test_a_client_that_goes_away_meanwhile_is_not_answered():
    application, _ = call([{"type": "http.request", "body": b"ab", "more_body": True}])

    assert application.scope is None


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
def test_the_limit_itself_is_allowed(size):
    application, _ = call(parts(bytes(size - 1), b"x"))

    assert application.scope["body_refused"] == ("body_too_large" if size > LIMIT else "")
    assert len(application.body) == (0 if size > LIMIT else LIMIT)


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
def test_the_limit_counts_what_is_inflated(size):
    application, _ = call(parts(gzip.compress(bytes(size))), content_encoding="gzip")

    assert application.scope["body_refused"] == ("body_too_large" if size > LIMIT else "")


def test_of_an_endless_body_it_reads_no_more_than_it_throws_away():
    application, client = call(endless())

    assert application.scope["body_refused"] == "body_too_large"
    # One more exceeds the limit, and the application itself asks once.
    assert client.asked <= LIMIT * DISCARD_FACTOR // CHUNK_BYTES + 2


def test_it_keeps_no_more_than_the_limit_of_an_endless_body():
    assert peak_bytes(lambda: call(endless())) < LIMIT * 1.5


def test_it_keeps_little_more_than_the_limit_of_a_bomb():
    bomb = gzip.compress(bytes(LIMIT * 50))

    assert peak_bytes(lambda: call(parts(bomb), content_encoding="gzip")) < LIMIT * 3


def test_a_body_of_very_many_small_parts_costs_no_more_than_its_size():
    """When each member copied the rest, 4 MiB took 8 seconds, before a key was required."""
    member = gzip.compress(b"")
    body = member * (4 * LIMIT // len(member))

    started = time.process_time()
    call(parts(body), limit=4 * LIMIT, content_encoding="gzip")

    assert time.process_time() - started < 1
