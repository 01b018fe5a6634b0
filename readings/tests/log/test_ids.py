"""The ids that the server gives to readings without one."""

import os
import time
from datetime import timedelta
from uuid import RFC_4122, UUID, uuid4

import pytest
from django.core.management import call_command

from readings.log.id_key import id_key
from readings.log.ids import IDS_PER_HASH, RANDOM_AT_ONCE, ServerIds, derived_ids, uuid7
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


@pytest.mark.once
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of Python 3.12, because the tests have threads
def test_a_random_id_has_its_time_and_bits_of_its_own_also_in_a_forked_process():
    found = [uuid7() for _ in range(3 * RANDOM_AT_ONCE)]
    assert {(identifier.version, identifier.variant) for identifier in found} == {(7, RFC_4122)}
    assert abs(time.time() * 1000 - (found[-1].int >> 80)) < 60_000
    assert len({identifier.int & (1 << 74) - 1 for identifier in found}) == len(found)

    uuid7()  # so that bits are left, of which the fork has a copy
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writing, uuid7().bytes)
        os._exit(0)
    os.waitpid(child, 0)
    forked = os.read(reading, 16)
    os.close(reading)
    os.close(writing)
    assert forked[8:] not in {uuid7().bytes[8:] for _ in range(RANDOM_AT_ONCE)}


@pytest.mark.once
def test_a_derived_id_is_the_same_in_every_version():
    """Otherwise a batch that is repeated after an upgrade would be stored twice."""
    assert derived_ids([b"text", b"other"], [1, 1_795_996_012_888]) == [
        UUID("00000000-0001-8d24-8aaa-b7e6c8885c72"),
        UUID("01a229b4-5158-8848-9547-0a358613ddec"),
    ]
    assert derived_ids([], []) == []


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
