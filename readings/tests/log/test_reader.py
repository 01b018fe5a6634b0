"""The reader of the log: what it finds, and that nothing else reads stored readings."""

import re
from pathlib import Path

import pytest
from django.conf import settings
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from devices.models import Device
from devices.tests.fixtures import EVERYTHING
from readings.alarms.evaluation.positions import Part
from readings.log import reader
from readings.log.entries import reading_document
from readings.log.reader import Window
from readings.tests.logs import NOON, at, make_devices, new, store, store_at

pytestmark = pytest.mark.django_db

# What else names the table: it distributes, deletes, verifies, or adds to the rollups what is not in them yet.
WRITERS = {"readings/log/recording.py", "readings/upkeep/rollups.py", "readings/upkeep/retention.py"}
SEALING = ("expiry", "seal", "size_limit", "statistics", "stored_segments", "unseal")
WRITERS |= {"readings/upkeep/erasure.py", *(f"readings/upkeep/sealing/{name}.py" for name in SEALING)}
WRITERS |= {f"readings/upkeep/verification/{name}.py" for name in ("log", "segments", "statistics")}
WRITERS |= {"readings/querysets.py"}
READERS = {"readings/log/reader.py", "readings/log/sources.py"}
READERS |= {f"readings/log/reading/{name}.py" for name in ("by_id", "by_seq", "by_time", "rows")}
WRITERS |= {"devices/database/distribution.py"}
# The words in which PostgreSQL quotes rows in its errors.
REDACTION = {"telemetry/monitoring/redaction.py"}
MANAGERS = r"\.(?:objects|_default_manager|_base_manager)\b"
NAMES = re.compile(rf"\breadings_(?:reading|segment)\b|\b(?:Reading|Segment){MANAGERS}")


@pytest.mark.once
def test_nothing_else_reads_stored_readings():
    root = Path(settings.BASE_DIR)
    found = {
        str(file.relative_to(root))
        for package in ("devices", "readings", "realtime", "telemetry")
        for file in (root / package).rglob("*.py")
        if not {"tests", "migrations"} & set(file.relative_to(root).parts) and NAMES.search(file.read_text())
    }
    assert found == WRITERS | READERS | REDACTION


def seqs(readings):
    return [reading.seq for reading in readings]


@limits(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    offsets=st.lists(st.integers(0, 5), max_size=12),
    start=st.none() | st.integers(0, 6),
    end=st.none() | st.integers(0, 6),
    beyond=st.none() | st.tuples(st.integers(0, 5), st.integers(1, 12)),
    descending=st.booleans(),
    limit=st.integers(1, 14),
)
def test_a_page_is_a_part_of_the_log_in_order_of_time(db, offsets, start, end, beyond, descending, limit):
    device, _ = Device.objects.register(device_id=f"mote-{Device.objects.count()}")
    store(new(device.device_id, at(offset)) for offset in offsets)
    log = sorted(((offset, seq) for seq, offset in enumerate(offsets, 1)), reverse=descending)
    if beyond is not None:
        log = [place for place in log if (place < beyond if descending else place > beyond)]
    expected = [
        (offset, seq) for offset, seq in log if (start is None or offset >= start) and (end is None or offset < end)
    ][:limit]

    window = Window(device.device_id, None if start is None else at(start), None if end is None else at(end))
    position = None if beyond is None else (at(beyond[0]), beyond[1])
    found = reader.page(window, limit=limit, descending=descending, beyond=position)
    assert [(reading.timestamp, reading.seq) for reading in found] == [(at(offset), seq) for offset, seq in expected]
    if beyond is None:
        assert reader.times(window, limit=limit, descending=descending) == [at(offset) for offset, _ in expected]


def test_it_finds_readings_with_any_of_the_metrics_and_the_values_of_one(device):
    store([new(temperature=1.0), new(humidity=2.0), new(extra={"co2": 400, "lux": 0.5}), new(extra={"rssi": -61})])
    window = Window("mote-1", metrics=["humidity", "co2"])
    assert seqs(reader.page(window, limit=9)) == [2, 3]
    assert reader.times(window, limit=9) == [NOON, NOON]
    assert reader.values(Window("mote-1"), "co2", limit=9) == [(3, NOON, 400.0)]
    assert reader.values(Window("mote-1"), "temperature", limit=9) == [(1, NOON, 1.0)]
    assert reader.values(Window("mote-1"), "absent", limit=9) == []
    assert reader.count("mote-1") == 4


def test_the_other_metrics_of_a_reading_are_in_the_order_of_their_names(device):
    """PostgreSQL keeps another order than SQLite."""
    stored = store([new(extra={"lux": 1.5, "bb": 2, "a": 3, "co2": 4})])[0].reading
    assert stored is not None
    ((row,), (replayed,)) = reader.page(Window("mote-1"), limit=1), reader.logs_after({"mote-1": 0}, limit=1)
    for reading in (row, replayed, reader.by_ids([("mote-1", stored.id)])[0]):
        assert list(reading_document(reading)) == ["id", "seq", "timestamp", "a", "bb", "co2", "lux"]


def test_it_finds_the_newest_reading_of_each_device(device, other_device):
    store_at(at(5), at(9), at(1))
    store([new("mote-2", at(3))])
    make_devices(1)  # without readings
    assert [(r.device_id, r.seq) for r in reader.newest_of_each(EVERYTHING, limit=9)] == [("mote-1", 2), ("mote-2", 1)]
    assert [r.device_id for r in reader.newest_of_each(EVERYTHING, after="mote-1", limit=9)] == ["mote-2"]
    assert [r.device_id for r in reader.newest_of_each(EVERYTHING, limit=1)] == ["mote-1"]


def test_it_reads_parts_of_logs_and_the_next_entries_of_logs(device, other_device):
    store([*(new(temperature=float(n), extra={"n": n}) for n in range(5)), new("mote-2", temperature=9.0)])
    rows = reader.parts([Part("mote-1", 1, 3, {}), Part("mote-2", 0, 1, {})], with_extra=True)
    assert [(*row[:4], row[-1]) for row in rows] == [
        ("mote-1", 2, NOON, 1.0, {"n": 1}),
        ("mote-1", 3, NOON, 2.0, {"n": 2}),
        ("mote-2", 1, NOON, 9.0, {}),
    ]
    assert seqs(reader.logs_after({"mote-1": 3}, limit=9)) == [4, 5]
    assert seqs(reader.logs_after({"mote-1": 3, "mote-2": 0}, limit=2)) == [4, 5]
