"""`/api/v1/tokens`: create, list and revoke; what each scope may do."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from msgspec import json

from devices.access.callers import caller_for_key
from devices.access.key_lookup import KeyResolver
from devices.keys import TOKEN_PREFIX, hash_key
from devices.models import ApiToken
from devices.tests.fixtures import client_with, new_token, problem, staff_client, token_client
from devices.tokens import querysets
from devices.tokens.uses import Uses

pytestmark = pytest.mark.django_db

URL = "/api/v1/tokens"
READER = {"name": "Dashboard", "scopes": ["read"]}


def test_a_token_is_shown_once_and_stored_as_a_hash(admin):
    made = admin.post(URL, READER)

    assert made.status_code == 201
    document = made.json()
    token = document.pop("token")
    assert token.startswith(TOKEN_PREFIX)
    assert document["starts_with"] == token[:8]
    assert document["created_by"] == "API key"
    assert (document["expires_at"], document["last_used_at"], document["tags"]) == (None, None, [])
    assert ApiToken.objects.get().token_hash == hash_key(token)
    assert admin.get(URL).json() == {"results": [document], "next": None}
    assert token not in admin.get(URL).content.decode()


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"name": ""}, "name", "blank"),
        ({"name": "two\nlines"}, "name", "control_character"),
        ({"scopes": []}, "scopes", "min_length"),
        ({"scopes": ["write"]}, "scopes.0", "invalid_choice"),
        ({"scopes": ["register"]}, "scopes", "ingest_missing"),
        ({"tags": ["nowhere"]}, "tags", "unknown_tag"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at", "in_the_past"),
        ({"expires_at": 1893456000}, "expires_at", "invalid"),
        ({"scope": "read"}, "scope", "unknown_field"),
    ],
)
def test_an_invalid_token_is_refused_with_the_field_and_a_code(admin, changes, field, code):
    (error,) = problem(admin.post(URL, READER | changes), 422)["errors"]
    assert (error["field"], error["code"]) == (field, code)
    assert not ApiToken.objects.exists()


def test_a_name_is_given_once(admin):
    admin.post(URL, READER)
    assert problem(admin.post(URL, READER), 409)["code"] == "name_taken"


def test_a_revoked_token_is_refused_at_once(admin, device):
    made = admin.post(URL, READER).json()
    client = client_with(made["token"])
    assert client.get("/api/v1/devices").status_code == 200

    assert admin.delete(f"{URL}/{made['id']}").status_code == 204

    problem(client.get("/api/v1/devices"), 401)
    problem(admin.delete(f"{URL}/{made['id']}"), 404)


def test_an_expired_token_is_refused(admin, device):
    ends = timezone.now() + timedelta(hours=1)
    client = client_with(admin.post(URL, READER | {"expires_at": ends.isoformat()}).json()["token"])
    assert client.get("/api/v1/devices").status_code == 200

    ApiToken.objects.update(expires_at=timezone.now())

    assert problem(client.get("/api/v1/devices"), 401)["code"] == "invalid_key"


READ, CHANGE = ("GET", "/api/v1/devices"), ("PATCH", "/api/v1/devices/mote-1")
POST = ("POST", "/api/v1/ingest")
BODIES = {CHANGE: {"name": "Roof"}, POST: {"device_id": "mote-1", "temperature": 21.5}}


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [(["read"], {READ}), (["manage"], {READ, CHANGE}), (["ingest"], {POST}), (["read", "ingest"], {READ, POST})],
)
def test_a_scope_allows_what_it_says_and_a_refusal_names_the_missing_one(device, scopes, allowed):
    client = token_client(*scopes)
    for (method, path), scope in {READ: "read", CHANGE: "manage", POST: "ingest"}.items():
        answer = client.generic(method, path, **body_of((method, path)))
        if (method, path) in allowed:
            assert answer.status_code in (200, 201), answer.content
        else:
            refusal = problem(answer, 403)
            assert refusal["code"] == "missing_scope"
            assert f"“{scope}”" in refusal["detail"]


def body_of(call):
    return {"data": json.encode(BODIES.get(call, {})), "content_type": "application/json"}


def test_no_token_makes_tokens(device):
    client = token_client("read", "manage", "ingest", "register")
    for answer in (client.get(URL), client.post(URL, READER), client.delete(f"{URL}/{ApiToken.objects.get().pk}")):
        assert "administrator" in problem(answer, 403)["detail"]


def test_an_account_needs_the_permission_to_make_tokens():
    may, may_not = staff_client("boss", "devices.add_apitoken"), staff_client("operator", "devices.change_device")
    assert may.post(URL, READER).status_code == 201
    problem(may_not.post(URL, READER), 403)


def test_the_last_use_is_noted_once_a_minute(device, monkeypatch):
    client = token_client("read")
    client.get("/api/v1/devices")
    noted = ApiToken.objects.get().last_used_at
    assert noted is not None

    with CaptureQueriesContext(connection) as later:
        client.get("/api/v1/devices")
    assert not [query for query in later if "UPDATE" in query["sql"]]
    assert ApiToken.objects.get().last_used_at == noted

    ApiToken.objects.update(last_used_at=noted - timedelta(minutes=2))
    monkeypatch.setattr(querysets, "uses", Uses(lambda write: write()))
    client.get("/api/v1/devices")
    noted_again = ApiToken.objects.get().last_used_at
    assert noted_again is not None
    assert noted_again > noted - timedelta(minutes=1)


def test_a_use_waits_for_a_thread_of_its_own_and_is_tried_once_a_minute(device, monkeypatch):
    client, now = token_client("read"), timezone.now()
    begun: list[Callable[[], None]] = []
    uses = Uses(begun.append)
    monkeypatch.setattr(querysets, "uses", uses)
    for _ in range(2):
        assert client.get("/api/v1/devices").status_code == 200
    token = ApiToken.objects.get()
    assert (len(begun), token.last_used_at) == (1, None)
    with monkeypatch.context() as away:
        away.setattr(ApiToken.objects, "filter", lambda *_, **__: 1 / 0)
        begun[0]()
    uses.note([token.pk], now=now + timedelta(seconds=30))
    assert len(begun) == 1
    uses.note([token.pk], now=now + timedelta(seconds=90))
    begun[1]()
    assert ApiToken.objects.get().last_used_at is not None
    assert not uses.writing


def test_a_key_of_a_device_and_a_token_cost_one_query_each(mote, django_assert_num_queries):
    token = new_token("read")
    now = timezone.now()
    caller_for_key(token, now=now)  # notes the use
    for key in (mote[1], token, f"{TOKEN_PREFIX}unknown", "tlm_unknown"):
        with django_assert_num_queries(1):
            caller_for_key(key, now=now)


@pytest.mark.django_db(transaction=True)
def test_the_lane_looks_up_keys_and_tokens_together(mote):
    token = new_token("ingest")

    async def look_up():
        resolver = KeyResolver()
        found = await asyncio.gather(*map(resolver.caller, (mote[1], token, f"{TOKEN_PREFIX}x", token)))
        assert not resolver.tokens
        return [None if caller is None else caller.role for caller in found]

    assert asyncio.run(look_up()) == ["device", "token", None, "token"]
