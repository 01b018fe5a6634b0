"""Request bodies in the real ASGI application."""

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest
from asgiref.sync import async_to_sync
from django.conf import settings

from devices.models import Device
from devices.tests.fixtures import ADMIN_KEY

pytestmark = pytest.mark.once

DEVICES = "/api/v1/devices"
LIMIT = settings.MAX_BODY_BYTES
CHUNK_BYTES = 64 * 1024
GZIP = {"Content-Encoding": "gzip"}


@pytest.fixture
def post():
    """Sends a request to the application as a server would; returns the response."""
    from telemetry.asgi import application

    def send(path, content, *, key=ADMIN_KEY, root_path="", method="POST", **headers):
        async def call():
            transport = httpx.ASGITransport(app=cast(Any, application), root_path=root_path)
            async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
                mine = {"Content-Type": "application/json"} | ({"X-API-Key": key} if key else {})
                return await client.request(method, path, content=content, headers=mine | headers)

        return async_to_sync(call)()

    return send


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    """A body without a length: httpx sends it chunked."""
    for part in parts:
        yield part


def zeros(size):
    return chunks(*[b"0" * CHUNK_BYTES] * (size // CHUNK_BYTES), b"0" * (size % CHUNK_BYTES))


def problem(response, status):
    """Asserts that this is a complete problem document with that status; returns its code."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert document["request_id"] == response.headers.get("X-Request-ID")
    assert document["title"]
    assert document["detail"]
    return document["code"]


def padded(size, device_id="mote-9"):
    """A valid body of exactly this size."""
    body = json.dumps({"device_id": device_id}).encode()
    return body + b" " * (size - len(body))


def test_a_body_over_the_limit_is_a_413(post):
    assert problem(post(DEVICES, padded(LIMIT + 1)), 413) == "body_too_large"


def test_it_is_counted_while_it_streams_in(post):
    assert problem(post(DEVICES, zeros(LIMIT + 1)), 413) == "body_too_large"


def test_a_length_that_is_a_lie_does_not_get_a_body_through(post):
    assert problem(post(DEVICES, zeros(LIMIT + 1), **{"Content-Length": "10"}), 413) == "body_too_large"


def test_a_bomb_is_a_413(post):
    bomb = gzip.compress(b" " * (LIMIT * 20))
    assert len(bomb) < LIMIT // 10

    assert problem(post(DEVICES, bomb, **GZIP), 413) == "body_too_large"


def test_a_bomb_of_many_parts_is_a_413(post):
    bomb = gzip.compress(b" " * (LIMIT // 2)) * 3

    assert problem(post(DEVICES, bomb, **GZIP), 413) == "body_too_large"


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"\x1f\x8b",
        gzip.compress(b"{}")[:-1],
        gzip.compress(b"{}")[:-8] + b"\0" * 8,
        gzip.compress(b"{}") + b"{}",
    ],
    ids=["no gzip", "a header alone", "cut off", "wrong checksum", "more behind it"],
)
def test_malformed_gzip_is_a_400(post, body):
    assert problem(post(DEVICES, body, **GZIP), 400) == "malformed_gzip"


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "nonsense"])
def test_an_unknown_encoding_is_a_415(post, encoding):
    assert problem(post(DEVICES, b"{}", **{"Content-Encoding": encoding}), 415) == "unsupported_encoding"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(padded(LIMIT + 1), {}, id="too large"),
        pytest.param(b"no gzip", GZIP, id="malformed gzip"),
        pytest.param(b"{}", {"Content-Encoding": "br"}, id="unknown encoding"),
        pytest.param(b"{", {}, id="malformed"),
    ],
)
@pytest.mark.parametrize("path", [DEVICES, "/api/v1/ingest", "/api/v1/ingest/batch"])
def test_a_401_comes_before_what_is_wrong_with_the_body(post, path, body, headers):
    assert problem(post(path, body, key=None, **headers), 401) == "not_authenticated"


def test_so_does_a_404(post):
    assert problem(post("/api/v1/nothing", padded(LIMIT + 1)), 404) == "not_found"


@pytest.mark.parametrize("path", ["/health", "/docs", "/nothing"])
def test_outside_the_api_it_is_a_413_as_well(post, path):
    assert problem(post(path, padded(LIMIT + 1)), 413) == "body_too_large"


def test_a_client_cannot_move_the_application(post):
    """daphne sets `root_path` from a client's header, `Daphne-Root-Path`."""
    response = post("/", b"", root_path="/elsewhere", method="GET")

    assert (response.status_code, response.headers["Location"]) == (302, "/admin/")


def test_a_request_brings_its_id_through_the_application(post):
    response = post(DEVICES, b"", key=None, **{"X-Request-ID": "abc"})

    assert response.headers["X-Request-ID"] == response.json()["request_id"] == "abc"


@pytest.mark.django_db(transaction=True)
class TestABodyThatIsTaken:
    """These requests use the database, in threads of their own."""

    def test_exactly_at_the_limit(self, post):
        assert post(DEVICES, padded(LIMIT)).status_code == 201

    def test_chunked(self, post):
        assert post(DEVICES, chunks(b'{"device', b'_id": ', b"", b'"mote-9"}')).status_code == 201
        assert Device.objects.get().device_id == "mote-9"

    def test_in_gzip(self, post):
        assert post(DEVICES, gzip.compress(padded(1000)), **GZIP).status_code == 201

    def test_in_gzip_and_chunked(self, post):
        body = gzip.compress(padded(1000))
        assert post(DEVICES, chunks(body[:7], body[7:]), **GZIP).status_code == 201

    def test_in_gzip_of_several_parts(self, post):
        body = padded(1000)
        assert post(DEVICES, gzip.compress(body[:9]) + gzip.compress(body[9:]), **GZIP).status_code == 201

    @pytest.mark.parametrize("encoding", ["GZIP", "x-gzip"])
    def test_in_gzip_by_another_name(self, post, encoding):
        assert post(DEVICES, gzip.compress(padded(99)), **{"Content-Encoding": encoding}).status_code == 201

    def test_with_an_encoding_that_is_none(self, post):
        assert post(DEVICES, padded(99), **{"Content-Encoding": "identity"}).status_code == 201

    def test_a_reading_in_every_way(self, post):
        _, key = Device.objects.register(device_id="mote-1")
        reading = b'{"temperature": 21.5}'

        answers = [
            post("/api/v1/ingest", reading, key=key),
            post("/api/v1/ingest", chunks(reading), key=key),
            post("/api/v1/ingest", gzip.compress(reading), key=key, **GZIP),
            post("/api/v1/ingest/batch", gzip.compress(b"[%b]" % reading), key=key, **GZIP),
        ]

        assert [answer.status_code for answer in answers] == [201] * 4
        assert answers[3].json()["devices"] == [{"device_id": "mote-1", "first_seq": 4, "last_seq": 4}]

    def test_a_wrong_key_is_a_401_before_a_413(self, post):
        assert problem(post(DEVICES, padded(LIMIT + 1), key="wrong"), 401) == "invalid_key"
