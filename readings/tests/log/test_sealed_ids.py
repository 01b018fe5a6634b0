"""A reading that was sent before is recognised by its id, also when it is sealed."""

import asyncio
from uuid import uuid4

import pytest

from readings.log import reader
from readings.log.damage import LogDamaged
from readings.log.group_commit import GroupCommitter
from readings.models import Reading, SealedId, Segment
from readings.tests.imports import export
from readings.tests.logs import at, new, state_of, store
from readings.tests.sealing import damage_segment, seal, unseal

pytestmark = pytest.mark.django_db


def test_a_repeated_reading_is_a_duplicate_of_a_sealed_one_whose_id_is_noted(device, other_device):
    ids = [uuid4() for _ in range(6)]
    first = store([new(timestamp=at(n), id=ids[n], temperature=float(n), extra={"b": n}) for n in range(6)])
    seal("mote-1", [[1, 3], [2]], until=5)
    SealedId.objects.bulk_create(SealedId(device_id="mote-1", id=ids[n], seq=n + 1) for n in range(4))

    again = store([new(timestamp=at(100 + n), id=ids[n], temperature=99.0) for n in range(6)])
    # The id of number 5 is noted no longer; number 6 is a row.
    assert [outcome.duplicate for outcome in again] == [True, True, True, True, False, True]
    for place in (0, 1, 2, 3, 5):
        assert repr(again[place].reading) == repr(first[place].reading)
    assert state_of().last_seq == 7
    assert not any(outcome.duplicate for outcome in store([new("mote-2", at(0), id=ids[0])]))


def test_a_noted_id_of_a_reading_that_retention_deleted_is_free(device):
    identifier = uuid4()
    store([new(timestamp=at(0), id=identifier), new(timestamp=at(1))])
    seal("mote-1", [[1]])
    SealedId.objects.create(device_id="mote-1", id=identifier, seq=1)
    Segment.objects.get(device_id="mote-1", first_seq=1).delete()
    assert reader.by_ids([("mote-1", identifier)]) == []
    assert not store([new(timestamp=at(2), id=identifier)])[0].duplicate


@pytest.mark.parametrize("own_ids", [True, False])
def test_an_import_stores_nothing_again_that_is_in_segments_alone(device, bring, own_ids):
    store(new(timestamp=at(n * 60 + 0.25), id=uuid4() if own_ids else None, temperature=float(n)) for n in range(40))
    file = export("mote-1")
    seal("mote-1", [range(1, 20, 2), range(2, 20, 2)], until=30)
    assert bring(file).said.startswith("0 stored, 40 stored before")
    # Another id at the same time is another reading.
    other = file.replace(file.splitlines()[1].split(b",")[0], str(uuid4()).encode())
    assert bring(other).said.startswith("1 stored, 39 stored before")


def test_an_import_without_ids_stores_nothing_again(device, bring):
    text = "timestamp,device_id,temperature\n" + "".join(f"2026-05-09T12:{n:02}:00Z,mote-1,{n}\n" for n in range(30))
    assert bring(text).said.startswith("30 stored")
    seal("mote-1", [range(1, 9)], until=25)
    assert bring(text).said.startswith("0 stored, 30 stored before")
    unseal("mote-1")
    assert bring(text).said.startswith("0 stored, 30 stored before")
    assert Reading.objects.count() == 30


@pytest.mark.django_db(transaction=True)
def test_a_repeated_id_in_a_damaged_segment_fails_its_own_request_only(mote, other_device, caplog):
    repeated = uuid4()
    store([new(id=repeated), new()])
    seal("mote-1", until=1)
    SealedId.objects.create(device_id="mote-1", id=repeated, seq=1)
    damage_segment("mote-1", 1)

    async def record_at_once():
        committer = GroupCommitter()
        requests = ([new("mote-2")], [new(id=repeated), new()], [new("mote-2"), new()])
        recorded = (committer.record(request, received_at=at()) for request in requests)
        return await asyncio.gather(*recorded, return_exceptions=True)

    first, second, third = asyncio.run(record_at_once())

    assert isinstance(second, LogDamaged)
    assert [outcome.reading.seq for outcome in first + third] == [1, 2, 3]
    assert (state_of().last_seq, state_of("mote-2").last_seq) == (3, 2)
    assert [record.levelname for record in caplog.records if record.name == "readings.log.group_commit"] == []
