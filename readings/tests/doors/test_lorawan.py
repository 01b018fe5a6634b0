"""Webhooks of The Things Stack and ChirpStack, with the events that their documentation shows."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from devices.models import Device
from devices.tests.fixtures import ADMIN_KEY, FLEET_KEY
from readings.models import Reading, Rejection

pytestmark = pytest.mark.django_db

TTN, CHIRPSTACK = "/api/v1/doors/ttn", "/api/v1/doors/chirpstack"
EUI = "0004A30B001C0530"


def ttn_event(received_at, **changes):
    """An uplink as in The Things Stack's documentation, "Data formats"."""
    return {
        "end_device_ids": {
            "device_id": "dev1",
            "application_ids": {"application_id": "app1"},
            "dev_eui": EUI,
            "join_eui": "800000000000000C",
            "dev_addr": "00BCB929",
        },
        "correlation_ids": ["as:up:01E0WZGT6Y7657CPFPE5WEYDSQ"],
        "received_at": "2020-02-12T15:15:45.787Z",
        "uplink_message": {
            "session_key_id": "AXBSH1Pk6Z0G166LJjpjqg==",
            "f_port": 15,
            "f_cnt": 2,
            "frm_payload": "aGVsbG8gd29ybGQ=",
            "decoded_payload": {"temperature": 1.0, "luminosity": 0.64, "status": "ok", "gps": {"altitude": 30}},
            "rx_metadata": [
                {"gateway_ids": {"gateway_id": "gtw1"}, "rssi": -35, "channel_rssi": -35, "snr": 5},
                {"gateway_ids": {"gateway_id": "gtw2"}, "rssi": -20, "channel_rssi": -20, "snr": 7.5},
            ],
            "settings": {"data_rate": {"lora": {"bandwidth": 125000, "spreading_factor": 7}}},
            "received_at": received_at,
            **changes,
        },
        "simulated": True,
    }


def chirpstack_event(at, **changes):
    """An uplink as in ChirpStack's documentation, "Event types"."""
    return {
        "deduplicationId": "3ac7e3c4-4401-4b8d-9386-a5c902f9202d",
        "time": at,
        "deviceInfo": {
            "tenantId": "52f14cd4-c6f1-4fbd-8f87-4025e1d49242",
            "tenantName": "ChirpStack",
            "applicationId": "17c82e96-be03-4f38-aef3-f83d48582d97",
            "deviceName": "Test device",
            "devEui": EUI.lower(),
            "tags": {"key": "value"},
        },
        "devAddr": "00189440",
        "dr": 1,
        "fCnt": 4,
        "fPort": 1,
        "data": "qg==",
        "object": {"temperature": 22.5, "battery.V": 3.1},
        "rxInfo": [
            {"gatewayId": "0016c001f153a14c", "uplinkId": 4217106255, "rssi": -36, "snr": 10.5},
            {"gatewayId": "0016c001f153a14d", "uplinkId": 4217106256, "rssi": -110, "snr": -3},
        ],
        "txInfo": {"frequency": 867100000},
        **changes,
    }


@pytest.fixture(params=["upper", "lower"])
def sensor(request, db):
    """A device whose id is the DevEUI, in either letter case."""
    return Device.objects.register(device_id=getattr(EUI, request.param)())[0]


@pytest.fixture
def post(send):
    def posted(path, event, key=FLEET_KEY):
        headers = {"X-API-Key": key, "Content-Type": "application/json"} if key else {}
        body = event if isinstance(event, str) else json.dumps(event)
        return send("POST", path, body, headers=headers)

    return posted


@pytest.fixture
def sent():
    return (timezone.now() - timedelta(minutes=5)).replace(microsecond=123456)


def test_an_uplink_of_the_things_stack_is_stored(post, sensor, stored, sent):
    at = sent.strftime("%Y-%m-%dT%H:%M:%S.123456789Z")

    answer = post(TTN, ttn_event(at))

    assert (answer.status_code, answer.json()) == (200, {"stored": 1})
    assert stored(sensor.device_id) == [
        {"temperature": 1.0, "luminosity": 0.64, "gps_altitude": 30, "rssi": -20, "snr": 7.5}
    ]
    assert Reading.objects.get().timestamp == sent
    assert Rejection.objects.values_list("device_id", "code", "field").get() == (
        *(sensor.device_id, "skipped_text", "status"),
    )


def test_an_uplink_of_chirpstack_is_stored_with_its_own_id(post, sensor, stored, sent):
    answer = post(f"{CHIRPSTACK}?event=up", chirpstack_event(sent.isoformat()))

    assert (answer.status_code, answer.json()) == (200, {"stored": 1})
    assert stored(sensor.device_id) == [{"temperature": 22.5, "battery_v": 3.1, "rssi": -36, "snr": 10.5}]
    reading = Reading.objects.get()
    assert (str(reading.id), reading.timestamp) == ("3ac7e3c4-4401-4b8d-9386-a5c902f9202d", sent)


def test_the_first_uplink_of_chirpstack_after_a_join_is_stored(post, sensor, stored, sent):
    """ChirpStack's JSON leaves out what is 0: here fCnt, as in its documentation, and the second gateway's snr.

    As chirpstack-api 4.20.0 encodes it.
    """
    event = {
        "deduplicationId": "3ac7e3c4-4401-4b8d-9386-a5c902f9202d",
        "time": sent.isoformat(),
        "deviceInfo": {
            "tenantId": "52f14cd4-c6f1-4fbd-8f87-4025e1d49242",
            "tenantName": "ChirpStack",
            "applicationId": "17c82e96-be03-4f38-aef3-f83d48582d97",
            "applicationName": "Test application",
            "deviceProfileName": "Test device-profile",
            "deviceName": "Test device",
            "devEui": EUI.lower(),
            "tags": {"key": "value"},
        },
        "devAddr": "00189440",
        "dr": 1,
        "fPort": 1,
        "data": "qg==",
        "object": {"door": True, "list": [1.0, 2.0], "temperature": 21.0, "inner": {"batt V": 3.6}, "text": "x"},
        "rxInfo": [
            {
                "gatewayId": "0016c001f153a14c",
                "uplinkId": 4217106255,
                "rssi": -36,
                "snr": 10.5,
                "context": "RTNPV09RPT0=",
            },
            {"gatewayId": "0016c001f153a14d", "uplinkId": 4217106256, "rssi": -20},
        ],
        "txInfo": {"frequency": 867100000, "modulation": {"lora": {"bandwidth": 125000, "spreadingFactor": 11}}},
    }

    assert post(f"{CHIRPSTACK}?event=up", event).json() == {"stored": 1}
    assert stored(sensor.device_id) == [{"door": 1, "temperature": 21.0, "inner_batt_v": 3.6, "rssi": -20}]


@pytest.mark.parametrize("path", [TTN, CHIRPSTACK])
def test_a_repeated_event_is_stored_once(post, sensor, sent, path):
    event = (ttn_event if path == TTN else chirpstack_event)(sent.isoformat())

    assert [post(path, event).json()["stored"] for _ in range(3)] == [1, 0, 0]
    assert Reading.objects.count() == 1


@pytest.mark.parametrize(
    ("path", "event"),
    [
        (TTN, {"end_device_ids": {"dev_eui": EUI}, "join_accept": {"session_key_id": "x"}}),
        (TTN, {"end_device_ids": {"dev_eui": EUI}, "downlink_ack": {}}),
        (TTN, {"uplink_message": None}),
        (f"{CHIRPSTACK}?event=join", {"deviceInfo": {"devEui": EUI}, "devAddr": "00189440"}),
        (f"{CHIRPSTACK}?event=status", {"deviceInfo": {"devEui": EUI}, "margin": 7, "batteryLevel": 75.5}),
        (f"{CHIRPSTACK}?event=ack", {"deviceInfo": {"devEui": EUI}, "acknowledged": True, "fCntDown": 4}),
        (
            f"{CHIRPSTACK}?event=integration",
            {"deviceInfo": {"devEui": EUI}, "integrationName": "loracloud", "eventType": "x", "object": {"a": 1}},
        ),
        (CHIRPSTACK, {}),
    ],
)
def test_an_event_that_is_no_uplink_is_a_200(post, sensor, stored, path, event):
    answer = post(path, event)

    assert (answer.status_code, answer.json()) == (200, {"stored": 0})
    assert Reading.objects.count() == Rejection.objects.count() == 0


def test_a_device_that_is_not_registered_is_a_200_and_noted(post, db, sent):
    answer = post(TTN, ttn_event(sent.isoformat()))

    assert answer.status_code == 200
    assert answer.json()["refused"]["code"] == "unknown_device"
    assert Rejection.objects.values_list("caller", "device_id", "status", "code").get() == (
        *("fleet", EUI, 200, "unknown_device"),
    )


def test_an_old_event_is_a_200_and_noted(post, sensor):
    answer = post(TTN, ttn_event("2020-02-12T15:15:45.787Z"))

    assert answer.json()["refused"]["code"] == "too_old"
    assert Rejection.objects.get().code == "too_old"


def test_a_payload_that_is_not_decoded_leaves_the_signal_and_a_note(post, sensor, stored, sent):
    post(TTN, ttn_event(sent.isoformat(), decoded_payload=None))

    assert stored(sensor.device_id) == [{"rssi": -20, "snr": 7.5}]
    assert "payload formatter" in Rejection.objects.get().detail


@pytest.mark.parametrize("gateways", [None, [], {}, [None], [{"rssi": "loud"}], [{"snr": 1}]])
def test_without_gateways_there_is_no_signal(post, sensor, stored, sent, gateways):
    post(CHIRPSTACK, chirpstack_event(sent.isoformat(), rxInfo=gateways))

    assert stored(sensor.device_id) == [{"temperature": 22.5, "battery_v": 3.1}]


def test_an_id_that_is_no_uuid_is_replaced_by_a_derived_one(post, sensor, sent):
    post(CHIRPSTACK, chirpstack_event(sent.isoformat(), deduplicationId="7"))

    assert Reading.objects.get().id.version == 8


@pytest.mark.parametrize(
    ("path", "event", "status", "field"),
    [
        (TTN, "{", 400, None),
        (TTN, "[]", 422, ""),
        (TTN, {"uplink_message": {}}, 422, "dev_eui"),
        (TTN, {"uplink_message": {}, "end_device_ids": 7}, 422, "dev_eui"),
        (TTN, {"uplink_message": {}, "end_device_ids": {"dev_eui": "not an id"}}, 422, "dev_eui"),
        (TTN, ttn_event("yesterday"), 422, "time"),
        (TTN, ttn_event(7), 422, "time"),
        (TTN, ttn_event("2026-05-09T12:00:00"), 422, "time"),
        (CHIRPSTACK, chirpstack_event(None, deviceInfo={"devEui": 7}), 422, "dev_eui"),
    ],
)
def test_an_event_that_cannot_be_read_names_the_field(post, sensor, path, event, status, field):
    answer = post(path, event)

    assert answer.status_code == status
    if field is not None:
        assert answer.json()["errors"][0]["field"] == field


def test_a_devices_own_key_is_for_its_own_events(post, sensor, sent, mote, stored):
    key = Device.objects.get(device_id=sensor.device_id).rotate_key(overlap=timedelta(0), now=datetime.now(UTC))

    assert post(TTN, ttn_event(sent.isoformat()), key=mote[1]).status_code == 403
    assert post(TTN, ttn_event(sent.isoformat()), key=key).json() == {"stored": 1}


@pytest.mark.parametrize(("key", "status"), [("", 401), ("tlm_wrong", 401), (ADMIN_KEY, 403)])
@pytest.mark.parametrize("path", [TTN, CHIRPSTACK])
def test_who_may_call(post, db, path, key, status):
    assert post(path, "{}", key=key).status_code == status


def test_the_door_can_be_closed(post, settings, db):
    settings.DOORS = ["influx"]

    assert post(TTN, "{}").status_code == 404
