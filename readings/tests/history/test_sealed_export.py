"""Lines of CSV of sealed readings, which are made column by column: the same as those of rows."""

import random
from datetime import timedelta
from functools import partial
from operator import attrgetter
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from devices.cpu_pool import Pauses
from devices.times import rfc3339
from readings.history import csv_export
from readings.history.csv_export import Layout, local_time, page_of, rfc3339_of, texts_of
from readings.log import reader
from readings.log.id_key import id_key
from readings.log.ids import ServerIds, uuid7
from readings.log.reader import Window
from readings.log.reading.by_time import Chunk
from readings.log.reading.opened import Opened
from readings.log.segments.sealed import MICROSECOND, SEGMENT_READINGS_MAX, encode
from readings.tests.logs import at, new, store
from readings.tests.sealing import seal
from readings.windows import EARLIEST, LATEST

NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**64), 2**64)
# Few different ones, so that they repeat; among them equal ones with different texts.
REPEATED = st.sampled_from([0.0, -0.0, 0, 1, 1.0, 21, 21.0, 21.5, None, 1e16, 1e300, 5e-324])


@given(st.lists(REPEATED | NUMBERS, max_size=60) | st.lists(REPEATED, max_size=60))
@example([0.0, -0.0] * 9)
@example([1, 1.0] * 9)
@example([21.5, None] * 9)
def test_cells_are_written_as_each_value_is(values):
    assert texts_of(values) == ["" if value is None else repr(value) for value in values]


@given(st.lists(st.integers(0, (LATEST - EARLIEST) // MICROSECOND), max_size=9))
@example([5])
@example([999_999, 1_000_000])
@example([1_798_761_599_999_999, 1_798_761_600_000_000])  # the end of 2026
def test_times_are_written_as_each_time_is(times):
    assert rfc3339_of(times) == [rfc3339(EARLIEST + micros * MICROSECOND) for micros in times]


@limits(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 2**63 - 1), max_size=20) | st.integers(1, 99).map(lambda first: [*range(first, 40)]))
def test_ids_of_many_readings_are_those_of_each(seqs):
    times = [1_780_000_000_000 + seq % 90_000 for seq in seqs]
    ids = ServerIds(b"k" * 32)
    each = [ids.digits("mote-1", seq, time) for seq, time in zip(seqs, times, strict=True)]
    assert ids.texts("mote-1", seqs, times) == each
    dashed = [text.replace("-", "") for text in ids.texts("mote-1", seqs, times, dash="-")]
    assert dashed == each


def log(length: int) -> list[Any]:
    """Readings of a device with drifting values, gaps, integers beside doubles, and some ids of clients."""
    chance = random.Random(length)
    return [
        new(
            timestamp=at(60 * number + chance.random()) - timedelta(hours=3 * (chance.random() < 0.02)),
            id=uuid7() if chance.random() < 0.1 else None,
            temperature=round(21 + chance.gauss(0, 1), 2) if chance.random() < 0.9 else None,
            humidity=chance.choice([40.0, 0.0, 41.5, 1 / 3, 1e16]),
            extra={"rssi": -chance.randrange(60, 70), "mixed": chance.choice([0, 0.5, 1, 1.0, 2.5])},
        )
        for number in range(length)
    ]


def csv_of(layout: Layout, *, descending: bool) -> bytes:
    pieces, beyond = page_of(Window("mote-1"), layout, descending=descending)
    found = b"".join(pieces)
    while beyond:
        pieces, beyond = page_of(Window("mote-1"), layout, descending=descending, beyond=beyond)
        found += b"".join(pieces)
    return found


@pytest.mark.django_db
@pytest.mark.parametrize("segments", [1, 4])
def test_the_file_is_the_same_before_and_after_sealing(device, segments, monkeypatch):
    readings = log(700)
    store(readings)
    monkeypatch.setattr(csv_export, "PAGE_READINGS", 300)
    monkeypatch.setattr(csv_export, "PAGE_SEGMENTS", segments)
    metrics = ["rssi", "temperature", "voltage", "humidity", "mixed"]
    asked: list[tuple[Layout, bool]] = [
        (Layout(metrics[:count], time_cell, long), descending)
        for count in (1, 5)
        for time_cell in (rfc3339, partial(local_time, tz=ZoneInfo("Europe/Berlin")))
        for long in (False, True)
        for descending in (False, True)
    ]
    before = [csv_of(layout, descending=descending) for layout, descending in asked]
    seal("mote-1", [range(first, first + 100) for first in range(1, 601, 100)])
    assert [csv_of(layout, descending=descending) for layout, descending in asked] == before
    assert before[0].count(b"\n") == len(readings)


@pytest.mark.django_db
def test_places_are_written_in_the_order_that_is_asked_for(device):
    store(log(50))
    stored = sorted(reader.page(Window("mote-1"), limit=50), key=attrgetter("seq"))
    segment = Opened("mote-1", 1, 50, encode(stored, key=id_key()), Pauses())
    layout = Layout(["temperature", "mixed", "absent"], rfc3339)
    places = [7, 3, 49, 0]
    assert layout.of_segment(segment, places) == layout.lines(segment.readings(places))
    assert layout.of_segment(segment, []) == []


@pytest.mark.django_db
def test_a_wide_table_reads_fewer_segments_at_a_time(device, monkeypatch):
    asked: list[int] = []

    def chunk(*_: Any, segments: int, **__: Any) -> Any:
        asked.append(segments)
        return Chunk([], None)

    monkeypatch.setattr(reader, "chunk", chunk)
    for count in (0, 4, 16, 200):
        page_of(Window("mote-1"), Layout([f"m{n}" for n in range(count)], rfc3339))
    assert asked == [4, 4, 2, 1]
    assert max(asked) * SEGMENT_READINGS_MAX < 10_000
