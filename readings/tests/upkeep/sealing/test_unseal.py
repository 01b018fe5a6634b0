"""`manage.py unseal`: sealed readings become the rows they were."""

from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from readings.log.id_key import id_key
from readings.log.segments.sealed import decode
from readings.models import SealedId
from readings.tests.logs import at, new, state_of, store
from readings.tests.upkeep.sealing.logs import (
    YEARS_LATER,
    damage,
    days,
    known_ids,
    rows_of,
    seal_all,
    segments_of,
    stored,
)
from readings.upkeep.sealing import seal, stored_segments
from readings.upkeep.sealing.unseal import unseal, unseal_last

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def off(settings):
    settings.SEAL_AFTER_DAYS = 0


@pytest.fixture
def small_segments(monkeypatch):
    monkeypatch.setattr(stored_segments, "SEGMENT_READINGS_MAX", 100)
    monkeypatch.setattr(seal, "SEGMENT_READINGS_MAX", 100)


@pytest.fixture
def log(device, small_segments):
    """600 readings, of which each 13th is days late."""
    times = (at(60 * n - (86_400 * 9 if n % 13 == 0 else 0)) for n in range(600))
    store(new(timestamp=when, id=uuid4(), extra={"b": n, "a": 0.5}) for n, when in enumerate(times))
    expected = stored()
    seal_all()
    assert len(segments_of()) == 7
    return expected


def written(*arguments: str) -> str:
    output = StringIO()
    call_command("unseal", *arguments, stdout=output)
    return output.getvalue()


def test_every_reading_becomes_a_row_again(log):
    assert written() == "600 readings became rows.\n"
    assert stored() == log
    assert len(rows_of()) == 600
    assert (segments_of(), known_ids(), state_of().sealed_seq) == ([], {}, 0)
    assert written() == "0 readings became rows.\n"


def test_each_step_takes_the_last_readings_and_keeps_the_invariants(log):
    sealed = 600
    for done in unseal("mote-1"):
        assert 0 < done.readings <= 200
        sealed -= done.readings
        assert stored() == log
        assert state_of().sealed_seq == sealed
        assert set(known_ids().values()) == set(range(1, sealed + 1))


def test_what_is_unsealed_can_be_sealed_again(log):
    for _ in range(2):
        assert unseal_last("mote-1")
    seal_all(now=YEARS_LATER + days(8))
    assert stored() == log
    assert rows_of() == []


def test_only_the_named_devices(log, other_device):
    store(new("mote-2", at(n)) for n in range(300))
    seal_all(now=YEARS_LATER + days(1))
    assert written("mote-2") == "300 readings became rows.\n"
    assert rows_of() == []
    with pytest.raises(CommandError, match="There is no device 'mote-3'"):
        written("mote-1", "mote-3")


def test_it_refuses_while_maintenance_would_seal_them_again(log, settings):
    settings.SEAL_AFTER_DAYS = 2
    with pytest.raises(CommandError, match="SEAL_AFTER_DAYS is 2, so maintenance would seal the readings again"):
        written()
    assert rows_of() == []


def test_what_retention_deleted_stays_deleted(log):
    first = segments_of()[0]
    gone = {repr(reading) for reading in decode(bytes(first.data), "mote-1", key=id_key())}
    first.delete()
    written()
    assert stored() == [reading for reading in log if reading not in gone]
    assert state_of().sealed_seq == 0


def test_an_id_that_was_sent_again_after_it_was_forgotten(log):
    """The later reading has the id; the sealed one gets another, because rows need different ones."""
    sealed = decode(bytes(segments_of()[0].data), "mote-1", key=id_key())[:3]
    SealedId.objects.all().delete()
    again = store(new(timestamp=at(90_000 + n), id=reading.id) for n, reading in enumerate(sealed))
    assert not any(outcome.duplicate for outcome in again)
    output = written()
    assert output == "600 readings became rows.\n3 of them have a new id, because a later reading has the same one.\n"
    rows = rows_of()
    assert len({reading.id for reading in rows}) == 603
    assert [reading.id for reading in rows[-3:]] == [reading.id for reading in sealed]


def test_a_damaged_segment_ends_it_for_its_device_alone(log, other_device):
    store(new("mote-2", at(n)) for n in range(300))
    seal_all(now=YEARS_LATER + days(1))
    bad = segments_of()[3]
    first_seq, last_seq = bad.first_seq, bad.last_seq
    damage(bad)
    with pytest.raises(CommandError, match=f"The readings {first_seq} to {last_seq} of mote-1 are damaged"):
        written()
    assert len(rows_of("mote-2")) == 300
    assert state_of().sealed_seq >= last_seq - 100
    assert any(segment.first_seq == first_seq for segment in segments_of())


@pytest.mark.slow
def test_the_migration_is_not_reversed_before(log):
    try:
        with pytest.raises(CommandError, match=r"manage\.py unseal"):
            call_command("migrate", "readings", "0010", stdout=StringIO())
    finally:
        call_command("migrate", stdout=StringIO())
    assert stored() == log
