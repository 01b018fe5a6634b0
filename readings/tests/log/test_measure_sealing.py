"""`manage.py measure_sealing`: how many bytes the readings of a database would take, compressed."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from readings.log.segments import measuring
from readings.tests.logs import at, new, store

pytestmark = pytest.mark.django_db


def written(*arguments):
    output = StringIO()
    call_command("measure_sealing", *arguments, stdout=output)
    return output.getvalue()


@pytest.fixture
def filled(device, other_device):
    store(new(timestamp=at(60 * n), temperature=20 + n % 50 / 100, extra={"rssi": -60 - n % 9}) for n in range(300))
    store([new("mote-2", temperature=1.0)])


def test_it_says_how_many_bytes_a_reading_takes_now_and_compressed(filled):
    text = written()
    assert "301 readings of 2 devices were encoded, decoded again and compared: all are the same." in text
    assert ", id 0." in text  # an id of the server takes no room
    assert "about 301 readings in " in text


def test_it_measures_the_newest_readings_of_one_device(filled, monkeypatch):
    assert "1 reading of 1 device " in written("mote-2")
    monkeypatch.setattr(measuring, "SEGMENT_READINGS_MAX", 100)
    assert "200 readings of 1 device " in written("mote-1", "--segments", "2")
    assert "100 readings of 1 device " in written("--segments", "1", "--devices", "1")


def test_it_says_so_where_there_is_nothing_to_measure(device):
    with pytest.raises(CommandError, match="There are no readings"):
        written()
    with pytest.raises(CommandError, match="'mote-1' has no readings"):
        written("mote-1")
    with pytest.raises(CommandError, match="devices"):
        written("--devices", "0")


def test_a_reading_that_does_not_come_back_is_a_failure(filled, monkeypatch):
    monkeypatch.setattr(measuring, "decode", lambda segment, device_id, key: [])
    with pytest.raises(CommandError, match="mote-1, mote-2 did not come back"):
        written()
