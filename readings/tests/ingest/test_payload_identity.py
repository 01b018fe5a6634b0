"""Which reading a payload is (`id`), and whose (`device_id`)."""

from uuid import UUID

import pytest

from readings.tests.ingest.test_payloads import ID, parse, refusal


@pytest.mark.parametrize("text", [ID, ID.upper(), ID.replace("-", ""), "00000000-0000-0000-0000-000000000000"])
def test_an_id_is_a_uuid_in_any_usual_spelling(text):
    assert parse({"temperature": 1, "id": text}).id == UUID(text)


@pytest.mark.parametrize(
    "value",
    ["", "7", "abc", ID[:-1], ID + "0", f"{{{ID}}}", f"urn:uuid:{ID}", ID + "\n", ID[:-1] + "٢", 7, True, [ID], {}],
)
def test_it_refuses_an_id_that_is_no_uuid(value):
    refused = refusal({"temperature": 1, "id": value})
    assert (refused.field, refused.code) == ("id", "invalid_id")


@pytest.mark.parametrize("key_of", [None, "mote-1"])
@pytest.mark.parametrize("named", ["", "-a", "a b", "a\x00", "a\n", "x" * 65, "é", 5, True, [], {}])
def test_it_refuses_a_device_id_that_is_none(named, key_of):
    refused = refusal({"temperature": 1, "device_id": named}, key_of)
    assert (refused.field, refused.code) == ("device_id", "invalid_device_id")


@pytest.mark.parametrize(
    ("named", "key_of", "code"),
    [(None, None, "required"), ("mote-2", "mote-1", "other_device"), ("MOTE-1", "mote-1", "other_device")],
)
def test_it_refuses_a_device_id_that_is_missing_or_anothers(named, key_of, code):
    refused = refusal({"temperature": 1, "device_id": named}, key_of)
    assert (refused.field, refused.code) == ("device_id", code)


@pytest.mark.parametrize("device_id", ["a", "AA:BB:CC:DD:EE:FF", "70B3D57ED0000001", "a.b_c-d:e", "x" * 64])
def test_macs_euis_and_names_are_device_ids(device_id):
    assert parse({"temperature": 1, "device_id": device_id}, None).device_id == device_id
    assert parse({"temperature": 1, "device_id": device_id}, device_id).device_id == device_id
