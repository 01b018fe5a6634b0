"""The InfluxDB door in the ingest lane: it has the lane's limits, and notes what it skips."""

import asyncio
import gzip
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from django.db import OperationalError

from readings.doors.influx import joining
from readings.ingest import refused_posts
from readings.log import group_commit
from readings.models import Reading, Rejection

pytestmark = pytest.mark.django_db(transaction=True)

V2, V1 = "/api/v2/write", "/write"


@pytest.fixture
def send_through_the_lane(monkeypatch: pytest.MonkeyPatch) -> Callable[..., httpx.Response]:
    """Sends a request to the ASGI application. Needs a database without a surrounding transaction."""
    monkeypatch.setattr(refused_posts, "WRITE_SECONDS", 0)

    def sent(method: str, path: str, body: Any = "", *, headers: Any = None, params: Any = None) -> httpx.Response:
        from telemetry.asgi import application

        async def request() -> httpx.Response:
            transport = httpx.ASGITransport(app=application)  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
                answer = await client.request(method, path, content=body, headers=headers, params=params)
            # What was refused or skipped is written by another task.
            if others := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(others, timeout=5)
            return answer

        return asyncio.run(request())

    return sent


@pytest.fixture
def write(send_through_the_lane, mote):
    def posted(lines, path=V2, key=mote[1], **given):
        headers = {"Authorization": f"Token {key}"} | given.pop("headers", {})
        return send_through_the_lane("POST", path, lines, headers=headers, **given)

    return posted


def test_it_stores_answers_and_notes_as_the_ordinary_handler_does(write):
    answer = write('a value=1,state="on"\nnonsense')

    assert (answer.status_code, answer.json()["line"]) == (400, 2)
    assert answer.headers["X-Request-ID"]
    assert [reading.extra for reading in Reading.objects.all()] == [{"a": 1}]
    assert sorted(Rejection.objects.values_list("code", "status")) == [("invalid_line", 400), ("skipped_text", 400)]


def test_a_204_has_neither_a_body_nor_a_length(write):
    answer = write("a value=1", "/write/")

    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-length" not in answer.headers
    assert "content-type" not in answer.headers


def test_ping_is_answered_without_django(send_through_the_lane):
    answer = send_through_the_lane("HEAD", "/ping", params={"verbose": "true"})

    assert (answer.status_code, answer.content) == (200, b"")
    assert send_through_the_lane("GET", "/ping").status_code == 204


def test_gzip_crlf_a_byte_order_mark_and_any_content_type_are_accepted(write):
    body = gzip.compress("\ufeffa value=1\r\nb value=2\r\n".encode())

    assert write(body, headers={"Content-Encoding": "gzip", "Content-Type": "image/png"}).status_code == 204
    assert Reading.objects.get().extra == {"a": 1, "b": 2}


def test_a_large_batch_is_stored(write):
    at = int(time.time())
    lines = "\n".join(f"m,host=x temperature={n % 40}.5,rssi=-{n}i {at - n}" for n in range(5_000))

    assert write(lines, params={"precision": "s"}).status_code == 204
    assert Reading.objects.count() == 5_000


def test_a_gzip_bomb_is_a_413_and_broken_gzip_a_400(write):
    assert write(gzip.compress(b"\n" * 100_000_000), headers={"Content-Encoding": "gzip"}).status_code == 413
    assert write(b"no gzip", headers={"Content-Encoding": "gzip"}).status_code == 400
    assert write(b"x", headers={"Content-Encoding": "zstd"}).status_code == 415


def test_a_full_queue_is_a_503_with_retry_after(write, monkeypatch):
    def full(*_args):
        raise group_commit.Overloaded

    monkeypatch.setattr(group_commit.GroupCommitter, "check_room", full)

    answer = write("a value=1")

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "1"


def test_a_database_that_is_away_is_a_503_with_retry_after(write, monkeypatch):
    def away(*_args, **_given):
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(group_commit, "store", away)

    answer = write("a value=1", V1)

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "Nothing was stored" in answer.json()["error"]


def test_the_body_of_a_stranger_is_not_read(write):
    def endless():
        raise AssertionError("the body was asked for")
        yield b""

    async def body():
        for chunk in endless():
            yield chunk

    assert write(body(), key="tlm_wrong").status_code == 401


def test_a_body_or_a_number_of_lines_over_the_limit_is_a_413(write):
    for body in ("a value=1\n" * (joining.LINES_MAX + 1), "a" * 5_000_000):
        answer = write(body)
        assert (answer.status_code, answer.json()["code"]) == (413, "request too large")
    assert write("a value=1\n" * joining.LINES_MAX).status_code == 204
    assert Reading.objects.count() == 1
