"""The ids that the server gives to readings without one."""

from datetime import timedelta
from uuid import RFC_4122, uuid4

import pytest
from django.core.management import call_command

from readings.log.id_key import id_key
from readings.log.ids import IDS_PER_HASH, ServerIds
from readings.models import IdKey, Reading
from readings.tests.logs import at, new, store

KEY = b"k" * 32


@pytest.mark.once
def test_an_id_is_a_uuid_of_version_7_of_the_readings_time():
    for seq in range(1, 40):
        found = ServerIds(KEY).id("mote-1", seq, at(1.0019))
        assert (found.version, found.variant) == (7, RFC_4122)
        assert found.int >> 80 == int(at(1.001).timestamp() * 1000)


@pytest.mark.once
def test_ids_differ_by_device_number_and_key_and_nothing_else_decides():
    devices, numbers, keys = ("mote-1", "mote-11"), range(1, 3 * IDS_PER_HASH), (KEY, b"x" * 32)
    found = [ServerIds(key).id(device, seq, at(0)) for device in devices for seq in numbers for key in keys]
    assert len(set(found)) == len(found)
    # The random bits, beside the 48 of the time, the version and the variant.
    bits = {identifier.int & (1 << 62) - 1 for identifier in found}
    assert len(bits) == len(found)

    ids = ServerIds(KEY)
    order = [(device, seq) for seq in reversed(numbers) for device in devices]
    assert {(d, s): ids.id(d, s, at(0)) for d, s in order} == {(d, s): ServerIds(KEY).id(d, s, at(0)) for d, s in order}


@pytest.mark.django_db
def test_the_key_is_made_once_for_a_database():
    key = id_key()
    assert len(key) == 32
    assert len(set(key)) > 8
    call_command("migrate", verbosity=0)
    assert id_key() == key
    assert IdKey.objects.count() == 1


@pytest.mark.django_db
def test_readings_without_an_id_get_theirs_from_the_key(device, other_device):
    given = uuid4()
    store([new(timestamp=at(1)), new("mote-2", timestamp=at(2)), new(timestamp=at(3), id=given)])
    store([new(timestamp=at(4) + timedelta(microseconds=1))])
    ids = ServerIds(id_key())
    stored = {(r.device_id, r.seq): r for r in Reading.objects.all()}
    assert stored.pop(("mote-1", 2)).id == given
    assert len(stored) == 3
    for (device_id, seq), reading in stored.items():
        assert reading.id == ids.id(device_id, seq, reading.timestamp)
