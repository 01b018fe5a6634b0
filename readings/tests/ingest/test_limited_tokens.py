"""Tokens that are limited to tags: what they may change and post."""

from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpRequest
from django.utils import timezone

from devices.access.callers import caller_for_key
from devices.keys import hash_key
from devices.models import ApiToken, Device, Tag
from devices.tests.fixtures import new_token, problem, token_client
from readings.doors import registering
from readings.doors.mqtt.clients import valid_keys
from readings.doors.mqtt.credentials import identity_of
from readings.doors.mqtt.storing import Message, Sender, Storing
from readings.doors.mqtt.topics import meaning_of
from readings.ingest.way import OwnWay
from readings.models import Reading

pytestmark = pytest.mark.django_db


@pytest.fixture
def fleet_of_two(admin):
    """`a` has the tags own and foreign, `b` has the tag foreign; `own-too` is the other tag of limited tokens."""
    for name in ("own", "own-too", "foreign"):
        assert admin.post("/api/v1/tags", {"name": name}).status_code == 201
    admin.post("/api/v1/devices", {"device_id": "a", "tags": ["own", "foreign"]})
    admin.post("/api/v1/devices", {"device_id": "b", "tags": ["foreign"]})


@pytest.fixture
def manager(fleet_of_two):
    return token_client("manage", tags=["own", "own-too"])


def tags_of(device_id):
    return sorted(Device.objects.get(device_id=device_id).tags.values_list("name", flat=True))


def test_it_sees_the_devices_that_have_one_of_its_tags(manager):
    assert [device["device_id"] for device in manager.get("/api/v1/devices").json()["results"]] == ["a"]
    problem(manager.get("/api/v1/devices/b"), 404)
    problem(manager.patch("/api/v1/devices/b", {"name": "Mine"}), 404)


def test_it_sees_its_tags_and_those_of_its_devices_and_counts_only_its_devices(manager):
    counts = {tag["name"]: tag["devices"] for tag in manager.get("/api/v1/tags").json()["results"]}
    assert counts == {"own": 1, "own-too": 0, "foreign": 1}


@pytest.mark.parametrize(
    ("tags", "allowed"),
    [
        (["own", "own-too", "foreign"], True),
        (["own-too", "foreign"], True),
        (["foreign"], False),  # it would take the device out of its own
        (["own"], False),  # it would take a tag that is not its own
        ([], False),
        (["own", "foreign", "new"], False),
    ],
)
def test_it_changes_only_its_own_tags_and_keeps_its_devices(manager, tags, allowed):
    answer = manager.patch("/api/v1/devices/a", {"tags": tags})
    if allowed:
        assert answer.status_code == 200
        assert answer.json()["tags"] == sorted(tags, key=["foreign", "own", "own-too"].index)
    else:
        assert answer.status_code in (403, 422), answer.content
        assert problem(answer, answer.status_code)["code"] in ("outside_limit", "invalid")
        assert tags_of("a") == ["foreign", "own"]


@pytest.mark.parametrize(("tags", "status"), [(["own"], 201), ([], 403), (None, 403), (["own", "foreign"], 403)])
def test_a_device_that_it_registers_has_one_of_its_tags(manager, tags, status):
    body = {"device_id": "c"} | ({} if tags is None else {"tags": tags})
    assert manager.post("/api/v1/devices", body).status_code == status
    assert Device.objects.filter(device_id="c").exists() == (status == 201)


def test_a_tag_that_it_cannot_see_is_unknown_to_it(manager, admin):
    admin.post("/api/v1/tags", {"name": "secret"})
    for send in (
        lambda tag: manager.post("/api/v1/devices", {"device_id": "c", "tags": ["own", tag]}),
        lambda tag: manager.patch("/api/v1/devices/a", {"tags": ["own", "foreign", tag]}),
        lambda tag: manager.generic(
            "POST", "/api/v1/device-imports", f'device_id,tags\nc,"own,{tag}"', content_type="text/csv"
        ),
    ):
        hidden, absent = (problem(send(tag), 422)["errors"] for tag in ("secret", "absent"))
        assert [error["code"] for error in hidden] == ["unknown_tag"]
        assert str(hidden).replace("secret", "absent") == str(absent)


def test_its_limit_is_checked_before_it_learns_whether_a_device_exists(manager):
    for device_id in ("b", "nowhere"):
        refusal = problem(manager.post("/api/v1/devices", {"device_id": device_id, "tags": ["foreign"]}), 403)
        assert refusal["code"] == "outside_limit"
    problem(manager.post("/api/v1/devices", {"device_id": "b", "tags": ["own"]}), 409)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "tags", {"name": "mine"}),
        ("patch", "tags/own", {"colour": "red"}),
        ("delete", "tags/own", None),
        ("post", "alarm-rules", {"name": "Hot", "kind": "threshold", "metric": "temperature", "above": 30}),
        ("get", "channels", None),
        ("patch", "metrics/temperature", {"unit": "K"}),
    ],
)
def test_what_concerns_all_devices_is_refused(manager, method, path, body):
    assert problem(getattr(manager, method)(f"/api/v1/{path}", body), 403)["code"] == "limited"


def test_a_tag_that_limits_a_token_cannot_be_deleted(manager, admin):
    refusal = problem(admin.delete("/api/v1/tags/own"), 409)
    assert "the API token token" in refusal["detail"]
    assert Tag.objects.filter(key="own").exists()


def test_it_posts_for_its_devices_and_others_are_unknown_to_it(fleet_of_two):
    poster = token_client("ingest", tags=["own"])

    assert poster.post("/api/v1/ingest", {"device_id": "a", "temperature": 1}).status_code == 201
    unknown = problem(poster.post("/api/v1/ingest", {"device_id": "nowhere", "temperature": 1}), 422)
    outside = problem(poster.post("/api/v1/ingest", {"device_id": "b", "temperature": 1}), 422)
    assert outside["errors"] == unknown["errors"]
    assert problem(poster.post("/api/v1/ingest", {"temperature": 1}), 422)["errors"][0]["code"] == "required"

    mixed = [{"device_id": name, "temperature": 2} for name in ("b", "a", "b", "a")]
    answer = poster.post("/api/v1/ingest/batch", mixed)
    assert answer.status_code == 207
    assert [rejection["index"] for rejection in answer.json()["rejected"]] == [0, 2]
    stored: Any = Reading.objects.order_by("seq").values_list("device_id", "seq")
    assert list(stored) == [("a", 1), ("a", 2), ("a", 3)]


def test_without_a_limit_it_posts_for_every_device(fleet_of_two):
    poster = token_client("ingest")
    for device_id in ("a", "b"):
        assert poster.post("/api/v1/ingest", {"device_id": device_id, "temperature": 1}).status_code == 201


LINES = "weather,device=a temperature=1\nweather,device=c temperature=2\nweather,device=b temperature=3"


@pytest.mark.parametrize(
    ("tags", "stored", "tagged"), [((), ["a", "b", "c"], []), (("own", "own-too"), ["a", "c"], ["own", "own-too"])]
)
def test_a_door_registers_what_a_token_with_register_sees_first(fleet_of_two, tags, stored, tagged):
    gateway = token_client("ingest", "register", tags=tags)
    answer = gateway.generic("POST", "/api/v2/write", LINES, content_type="text/plain")

    assert answer.status_code == (400 if tags else 204)
    assert sorted(Reading.objects.values_list("device_id", flat=True)) == stored
    assert tags_of("c") == tagged


def lines(first, count):
    return "\n".join(f"weather,device=n{n} temperature=1" for n in range(first, first + count))


def write(client, text):
    return client.generic("POST", "/api/v2/write", text, content_type="text/plain")


def test_a_post_registers_a_bounded_number_of_devices_in_one_transaction(fleet_of_two):
    gateway = token_client("ingest", "register", tags=["own"])
    for expected in (20, 25):
        answer = write(gateway, lines(0, 25))
        assert Device.objects.filter(device_id__startswith="n").count() == expected
        assert ("a post registers at most 20 devices" in answer.content.decode()) == (expected == 20)
    assert tags_of("n24") == ["own"]


def test_a_token_registers_a_bounded_number_of_devices_an_hour(fleet_of_two, monkeypatch):
    monkeypatch.setattr(registering, "REGISTERED_AN_HOUR", 3)
    gateway, other = (token_client("ingest", "register", name=name) for name in ("one", "other"))
    assert write(gateway, lines(0, 2)).status_code == 204
    answer = write(gateway, lines(0, 4))
    assert "devices within an hour, which is its limit" in answer.content.decode()
    assert Device.objects.filter(device_id__startswith="n").count() == 3
    assert Reading.objects.count() == 5
    assert write(other, lines(3, 1)).status_code == 204

    before = timezone.now() - timedelta(hours=1, seconds=1)
    assert ApiToken.objects.filter(name="one").update(registering_since=before)
    assert write(gateway, lines(4, 3)).status_code == 204


def test_only_a_door_registers(fleet_of_two):
    gateway = token_client("ingest", "register")
    problem(gateway.post("/api/v1/ingest", {"device_id": "c", "temperature": 1}), 422)
    assert not Device.objects.filter(device_id="c").exists()


def test_without_the_scope_register_a_door_refuses_what_it_does_not_know(fleet_of_two):
    answer = token_client("ingest").generic("POST", "/api/v2/write", LINES, content_type="text/plain")
    assert answer.status_code == 400
    assert not Device.objects.filter(device_id="c").exists()


def test_a_lorawan_device_is_registered_by_its_eui_in_lower_case(fleet_of_two, settings):
    settings.DOORS = ["lorawan"]
    gateway = token_client("ingest", "register", tags=["own"])
    event = {
        "end_device_ids": {"dev_eui": "70B3D57ED0000001"},
        "uplink_message": {"decoded_payload": {"temperature": 4.5}},
    }
    for _ in range(2):
        assert gateway.post("/api/v1/doors/ttn", event).json() == {"stored": 1}
    assert tags_of("70b3d57ed0000001") == ["own"]
    assert Reading.objects.filter(device_id="70b3d57ed0000001").count() == 2


def test_a_token_is_a_gateway_of_mqtt_whose_end_is_noticed(fleet_of_two):
    token = new_token("ingest", tags=["own"])
    caller = caller_for_key(token, now=timezone.now())
    assert caller is not None
    identity = identity_of(caller, token, "")
    assert (identity.own, identity.key_hash) == (None, hash_key(token))

    standing = valid_keys([hash_key(token)], version=None, now=timezone.now())
    assert standing is not None
    assert standing[1] == {hash_key(token)}
    ApiToken.objects.all().delete()
    standing = valid_keys([hash_key(token)], version=None, now=timezone.now())
    assert standing is not None
    assert standing[1] == set()


def test_over_mqtt_a_limited_token_writes_and_speaks_for_its_devices(fleet_of_two):
    now = timezone.now()
    caller = caller_for_key(new_token("ingest", tags=["own"]), now=now)
    said = []

    async def say(status, at):
        said.append(status.device_id)

    def message(topic, payload):
        return Message(topic, meaning_of(topic), payload, now)

    async def finished():
        storing = Storing(OwnWay(HttpRequest()), Sender(None, "token", "gateway", "", caller), say)
        names = ("telemetry/a", "telemetry/b")
        readings = [message(f"{name}/readings", b'{"temperature": 1}') for name in names]
        return await storing.finish([*readings, *(message(f"{name}/status", b"offline") for name in names)])

    outcomes = async_to_sync(finished)()
    refused = [outcome.refused[0] if outcome.refused else None for outcome in outcomes]
    assert refused == [None, "b", None, "b"]
    assert list(Reading.objects.values_list("device_id", flat=True)) == ["a"]
    assert said == ["a"]
