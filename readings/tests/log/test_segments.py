"""The format of segments: what was encoded comes back bit for bit, and what was changed is noticed."""

import random
import re
import zlib
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.conf import settings
from hypothesis import example, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from readings.log.entries import StoredReading
from readings.log.ids import ServerIds, derived_ids, uuid7
from readings.log.segments import rollup_block
from readings.log.segments.integers import Damaged, integers, read_integers
from readings.log.segments.sealed import (
    CHECKSUM_BYTES,
    MICROSECOND,
    SEGMENT_READINGS_MAX,
    VERSION,
    columns,
    decode,
    encode,
    wrapped,
)
from readings.log.segments.values import metric, read_metric
from readings.tests.logs import NOON, at
from readings.windows import EARLIEST, LATEST

pytestmark = pytest.mark.once

PAGE = Path(settings.BASE_DIR) / "docs" / "log-format.md"
KEY = b"k" * 32
DOUBLES = st.floats() | st.decimals(-10_000, 10_000, places=2).map(float) | st.sampled_from([0.0, -0.0, 21.0, 5e-324])
NUMBERS = DOUBLES | st.integers(-(2**64), 2**64)
NAMES = st.text(max_size=63).filter(lambda name: name not in ("temperature", "humidity", "voltage"))
READINGS = st.lists(
    st.builds(
        StoredReading,
        id=st.uuids() | st.sampled_from([uuid7(), uuid7(), *derived_ids([b"text"], [1])]),
        device_id=st.just("mote-1"),
        seq=st.integers(1, 2**63 - 1),
        timestamp=st.integers(0, (LATEST - EARLIEST) // MICROSECOND).map(lambda n: EARLIEST + n * MICROSECOND),
        temperature=st.none() | DOUBLES,
        humidity=st.none() | DOUBLES,
        voltage=st.none() | DOUBLES,
        extra=st.dictionaries(NAMES, NUMBERS, max_size=4),
    ),
    min_size=1,
    max_size=12,
)


def regular(count: int, **values: Any) -> list[StoredReading]:
    """A reading a minute with two decimals, as most devices send."""
    chance = random.Random(5)
    times = [at(60 * n) + timedelta(microseconds=chance.randrange(500_000)) for n in range(count)]
    return [
        StoredReading(
            identifier, "mote-1", n + 1, when, 20 + round(5 * chance.random(), 2), None, None, {"rssi": -60 - n % 7}
        )
        for n, (identifier, when) in enumerate(zip([uuid7() for _ in times], times, strict=True))
    ]


def with_server_ids(readings: Sequence[StoredReading]) -> list[StoredReading]:
    """The readings with the ids that the server would have given to them."""
    ids = ServerIds(KEY)
    return [msgspec.structs.replace(r, id=ids.id(r.device_id, r.seq, r.timestamp)) for r in readings]


def sorted_extra(reading: StoredReading) -> str:
    """Every bit of a reading as text, with its metrics in the order of their names. `repr` tells -0.0 from 0.0."""
    return repr((*(getattr(reading, name) for name in reading.__struct_fields__[:-1]), sorted(reading.extra.items())))


# Some with ids of clients, some with ids of the server.
MIXED = st.tuples(READINGS, READINGS.map(with_server_ids)).map(lambda parts: [*parts[0], *parts[1]])


@limits(max_examples=60, deadline=None)
@given(READINGS | MIXED)
def test_every_reading_comes_back_bit_for_bit(readings):
    segment = encode(readings, key=KEY)
    found = decode(segment, "mote-1", key=KEY)
    assert [sorted_extra(reading) for reading in found] == [sorted_extra(reading) for reading in readings]
    assert all(list(reading.extra) == sorted(reading.extra) for reading in found)


@limits(max_examples=60, deadline=None)
@given(st.lists(st.none() | NUMBERS, min_size=1, max_size=40))
@example([1e300, 1e16, -0.0, 5e-324, 2**53])
@example([0.1 + 0.2, 21.5, None, 21, 1 / 3])
@example([1.5] * 30 + [float("nan"), 1.5, float("-inf")])
@example([x / 3 for x in range(40)])
@example([2**64, 0.5])
def test_values_come_back_with_their_type_and_bits(values):
    assert repr(read_metric(metric(values), len(values))) == repr(values)


@limits(max_examples=200, deadline=None)
@given(
    st.sampled_from([1, 7, 8, 15, 16, 17, 31, 32, 33, 61, 62, 63, 64, 100]).flatmap(
        lambda bits: st.lists(st.integers(-(2**bits), 2**bits), max_size=40)
    )
)
@example([*range(100, 3000)])
@example([*range(100, -3000, -7)])
@example([5, 9, *range(13, 99, 4)])
@example([-(2**62), 2**62 - 1, 0])
@example([0, 2**63 - 1])
@example([2**63, 0])
def test_integers_come_back(values):
    assert read_integers(integers(values), len(values)) == values


def test_columns_are_read_alone():
    readings = regular(50)
    found = columns(encode(readings, key=KEY), metrics=["rssi", "absent"])
    assert found.seqs == [reading.seq for reading in readings]
    assert [EARLIEST + timedelta(microseconds=micros) for micros in found.times] == [r.timestamp for r in readings]
    assert found.metrics == {"rssi": [reading.extra["rssi"] for reading in readings]}


@pytest.mark.parametrize("count", [0, SEGMENT_READINGS_MAX + 1])
def test_a_segment_has_a_bounded_number_of_readings(count):
    with pytest.raises(ValueError, match=f"1 to 2048 readings, not {count}"):
        encode(regular(count), key=KEY)


def test_a_metric_with_a_column_is_no_other_metric():
    reading = StoredReading(UUID(int=1), "mote-1", 1, NOON, None, None, None, {"voltage": 1.0})
    with pytest.raises(ValueError, match="voltage has a column"):
        encode([reading], key=KEY)


def test_every_changed_bit_is_noticed():
    segment = encode(regular(3), key=KEY)
    for place in range(len(segment)):
        for bit in range(8):
            changed = bytearray(segment)
            changed[place] ^= 1 << bit
            with pytest.raises(Damaged):
                decode(bytes(changed), "mote-1", key=KEY)
    for length in range(len(segment)):
        with pytest.raises(Damaged):
            decode(segment[:length], "mote-1", key=KEY)


@limits(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 255), st.binary(max_size=3))
def test_bytes_with_a_right_checksum_that_are_no_segment_raise_nothing_else(place, byte, more):
    body = bytearray(encode(regular(3) + regular(1), key=KEY)[5:])
    body[place % len(body)] = byte
    changed = bytes(body) + more
    with suppress(Damaged):
        decode(wrapped(VERSION, changed), "mote-1", key=KEY)


def test_another_version_is_named():
    with pytest.raises(Damaged, match="version is 2; this program reads version 1"):
        decode(b"\x02" + encode(regular(1), key=KEY)[1:], "mote-1", key=KEY)


def test_the_usual_reading_takes_five_bytes():
    readings = with_server_ids(regular(SEGMENT_READINGS_MAX))
    assert len(encode(readings, key=KEY)) / len(readings) < 5


def test_ids_of_clients_take_sixteen_bytes_more_at_most():
    readings = regular(SEGMENT_READINGS_MAX)
    assert len(encode(readings, key=KEY)) / len(readings) < 5 + 12


def test_ids_of_the_server_come_back_with_the_key_alone():
    readings = with_server_ids(regular(20))
    segment = encode(readings, key=KEY)
    assert [r.id for r in decode(segment, "mote-1", key=KEY)] == [r.id for r in readings]
    assert {r.id for r in decode(segment, "mote-1", key=b"x" * 32)}.isdisjoint(r.id for r in readings)


def documented() -> Any:
    """The Python of the page that documents the format."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    page = SimpleNamespace()
    exec(compile(code, str(PAGE), "exec"), page.__dict__)
    return page


@limits(max_examples=40, deadline=None)
@given(READINGS | MIXED)
@example(regular(100))
@example(with_server_ids(regular(100)))
def test_the_documented_page_of_python_decodes_every_segment(readings):
    found = [repr(row) for row in documented().decode(encode(readings, key=KEY), "mote-1", KEY)]
    expected = []
    for reading in readings:
        own = {name: getattr(reading, name) for name in ("temperature", "humidity", "voltage")}
        present = {name: value for name, value in own.items() if value is not None}
        values = present | dict(sorted(reading.extra.items()))
        expected.append(repr((reading.id, reading.seq, reading.timestamp, values)))
    assert found == expected


def test_the_documented_page_notices_damage():
    segment = encode(regular(3), key=KEY)
    with pytest.raises(ValueError, match="damaged"):
        list(documented().decode(segment[:-1] + bytes((segment[-1] ^ 1,)), "mote-1", KEY))
    assert zlib.crc32(segment[5:], 1) == int.from_bytes(segment[1:5])


ROLLUPS = st.dictionaries(
    st.integers(0, 2**28), st.tuples(st.integers(1, 2**62), DOUBLES, DOUBLES, DOUBLES), min_size=1
)


@limits(max_examples=40, deadline=None)
@given(ROLLUPS)
@example({n: (60, n / 3, -0.0, 21.5) for n in range(240)})
def test_a_block_of_rollups_comes_back_bit_for_bit_also_with_the_documented_python(found):
    rows = [(start, *found[start]) for start in sorted(found)]
    block = rollup_block.encode(rows)
    expected = msgspec.msgpack.encode(rows)
    assert msgspec.msgpack.encode(list(rollup_block.decode(block).rollups())) == expected
    minutes = [((at - EARLIEST) // timedelta(minutes=1), *rest) for at, *rest in documented().decode_block(block, 60)]
    assert msgspec.msgpack.encode(minutes) == expected


def test_a_damaged_block_of_rollups_is_refused():
    block = rollup_block.encode([(n, 60, n / 3, 0.0, 1.0) for n in range(50)])
    for place in range(len(block)):
        with pytest.raises(Damaged):
            rollup_block.decode(block[:place] + bytes((block[place] ^ 1,)) + block[place + 1 :])
    with pytest.raises(Damaged):
        rollup_block.decode(block[:-1])
    longer = block[1 + CHECKSUM_BYTES :] + b"x"
    with pytest.raises(Damaged, match="more bytes"):
        rollup_block.decode(wrapped(rollup_block.VERSION, longer))
