from datetime import timedelta

import pytest
from django.utils import timezone

from devices.models import Device
from devices.tests.fixtures import ADMIN_KEY, FLEET_KEY, new_client, problem, staff_client

pytestmark = pytest.mark.django_db

DEVICE_URL = "/api/v1/devices/mote-1"
READING = {"device_id": "mote-1", "temperature": 21.5}

HEADERS = {
    "X-API-Key": lambda key: {"HTTP_X_API_KEY": key},
    "Bearer": lambda key: {"HTTP_AUTHORIZATION": f"Bearer {key}"},
}
# Texts that are not keys and could cause errors in the comparison.
NO_KEYS = {
    "unknown": "tlm_" + "x" * 32,
    "empty": "",
    "blank": "  ",
    "not ASCII": "ключ-é-☃",
    "not UTF-8": "tlm_\udcff",
    "NUL": "tlm_\0",
    "long": "x" * 8000,
    "almost the administrator's": ADMIN_KEY[:-1],
    "the administrator's in capitals": ADMIN_KEY.upper(),
    "both": f"{ADMIN_KEY},{FLEET_KEY}",
}


@pytest.fixture(params=HEADERS)
def bring(request):
    """A client that sends a key, in each of the two headers."""

    def client(key):
        client = new_client()
        client.credentials(**HEADERS[request.param](key))
        return client

    return client


def refused(client):
    """Asserts that a key is refused for reading and for writing."""
    for response in (
        client.get("/api/v1/devices"),
        client.get(DEVICE_URL),
        client.get(f"{DEVICE_URL}/history"),
        client.post("/api/v1/ingest", READING),
        client.post("/api/v1/ingest/batch", [READING]),
        client.post("/api/v1/realtime/tickets", {}),
    ):
        assert problem(response, 401)["code"] == "invalid_key"
        assert response["WWW-Authenticate"].startswith("Bearer")


def test_good_keys_are_taken_in_either_header(bring, mote):
    assert bring(ADMIN_KEY).get("/api/v1/devices").status_code == 200
    assert bring(FLEET_KEY).post("/api/v1/ingest", READING).status_code == 201
    assert bring(mote[1]).post("/api/v1/ingest", READING).status_code == 201


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
def test_the_scheme_is_bearer_in_any_case(anyone, mote, scheme):
    assert anyone.get(DEVICE_URL, HTTP_AUTHORIZATION=f"{scheme} {mote[1]}").status_code == 200


@pytest.mark.parametrize("kind", NO_KEYS)
def test_a_key_that_is_none_is_refused(bring, device, kind):
    refused(bring(NO_KEYS[kind]))


def test_a_revoked_key_is_refused(bring, device, mote):
    device.rotate_key(overlap=timedelta(0), now=timezone.now())

    refused(bring(mote[1]))


def test_an_expired_key_is_refused(bring, device, mote):
    device.rotate_key(overlap=timedelta(hours=1), now=timezone.now() - timedelta(hours=2))

    refused(bring(mote[1]))


def test_the_key_of_an_inactive_device_is_refused(bring, device, mote):
    Device.objects.update(is_active=False)

    refused(bring(mote[1]))


def test_a_retiring_key_of_an_inactive_device_is_refused(bring, device, mote):
    device.rotate_key(overlap=timedelta(hours=1), now=timezone.now())
    Device.objects.update(is_active=False)

    refused(bring(mote[1]))


def test_the_hash_of_a_key_is_no_key(bring, device):
    refused(bring(device.api_key_hash))


def test_the_hint_of_a_key_is_no_key(bring, device):
    refused(bring(device.key_hint))


def test_without_configured_keys_no_key_opens_anything(bring, device, settings):
    settings.API_SECRET_KEY = ""
    settings.DEVICE_API_KEYS = ["", " "]

    for key in ("", " ", ADMIN_KEY, FLEET_KEY):
        refused(bring(key))


def test_a_wrong_key_is_refused_beside_a_valid_session(device):
    client = staff_client("operator", "devices.view_device")
    assert client.get(DEVICE_URL).status_code == 200

    for header in HEADERS.values():
        assert problem(client.get(DEVICE_URL, **header("wrong")), 401)["code"] == "invalid_key"


def test_a_key_counts_and_not_the_session_beside_it(mote):
    client = staff_client("operator", "devices.view_device")

    problem(client.get("/api/v1/devices", HTTP_X_API_KEY=mote[1]), 403)


def test_a_wrong_key_is_refused_beside_a_good_bearer(anyone, mote):
    wrong_and_good = {"HTTP_X_API_KEY": "wrong", "HTTP_AUTHORIZATION": f"Bearer {mote[1]}"}

    problem(anyone.get(DEVICE_URL, **wrong_and_good), 401)


@pytest.mark.parametrize("authorization", ["Basic dXNlcjpwYXNz", "Token {key}", "{key}", "ApiKey {key}"])
def test_no_other_scheme_counts(anyone, mote, authorization):
    response = anyone.get(DEVICE_URL, HTTP_AUTHORIZATION=authorization.format(key=mote[1]))

    assert problem(response, 401)["code"] == "not_authenticated"


@pytest.mark.parametrize("name", ["api_key", "key", "X-API-Key", "token", "access_token"])
def test_a_key_in_the_url_does_not_count(anyone, device, name):
    assert problem(anyone.get(DEVICE_URL, {name: ADMIN_KEY}), 401)["code"] == "not_authenticated"


def test_a_key_in_the_body_does_not_count(anyone, mote):
    problem(anyone.post("/api/v1/ingest", READING | {"api_key": mote[1]}), 401)


def test_a_refusal_never_repeats_the_key(bring, device):
    key = "tlm_not-a-key-but-secret-all-the-same"

    assert key not in bring(key).get(DEVICE_URL).content.decode()
