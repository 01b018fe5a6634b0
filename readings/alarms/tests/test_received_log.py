"""The readings of a device in memory: the same values as in the log, in whatever form and parts they are kept."""

import uuid
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from readings.alarms.conditions.states import Calm
from readings.alarms.evaluation.positions import Part
from readings.alarms.evaluation.received_log import ARRIVAL_SECONDS, Log, first_bounds
from readings.alarms.evaluation.samples import microseconds
from readings.log.entries import StoredReading
from readings.tests.logs import at

DEVICE = uuid.UUID(int=1)
JUDGED = frozenset({"temperature", "voltage", "co2"})
VALUES = st.one_of(st.none(), st.floats(-5, 5))


def reading(seq, temperature=None, humidity=None, voltage=None, **extra):
    return StoredReading(uuid.UUID(int=seq), "mote-1", seq, at(seq), temperature, humidity, voltage, extra)


def log_of(first_seq=1, metrics=JUDGED):
    log = Log(DEVICE, first_seq, first_bounds(metrics))
    log.arrive(now=at(0), moment=0.0)
    return log


def expectation(low, high, newest=0, until=None):
    return [Calm(low, high, until)], microseconds(at(newest))


@st.composite
def rows(draw):
    found = []
    for seq in range(1, draw(st.integers(1, 12)) + 1):
        extra = {name: value for name in ("co2", "other") if (value := draw(VALUES)) is not None}
        found.append(reading(seq, draw(VALUES), draw(VALUES), draw(VALUES), **extra))
    return found


def values_of(readings, metric):
    found = [(r.seq, r.timestamp, r.extra.get(metric) if metric == "co2" else getattr(r, metric)) for r in readings]
    return [row for row in found if row[2] is not None]


@given(rows(), st.lists(st.booleans(), min_size=12, max_size=12), st.data())
def test_any_part_has_the_values_of_its_readings(readings, unpacks, data):
    log = log_of()
    for one, unpack in zip(readings, unpacks, strict=False):
        log.add([one], JUDGED)
        if unpack:
            log.unpack(JUDGED)
    forgotten = data.draw(st.integers(0, len(readings) - 1))
    if forgotten:
        log.forget(forgotten, JUDGED)
    until = data.draw(st.integers(forgotten + 1, len(readings)))

    series = log.series(Part("mote-1", forgotten, until, {}), JUDGED)

    assert (log.first_seq, log.end) == (forgotten + 1, len(readings) + 1)
    for metric in JUDGED:
        values = values_of(readings[forgotten:until], metric)
        column = series.get(metric)
        found = list(zip(column.seqs, column.times, column.values, strict=True)) if column else []
        assert found == values
    assert series.keys() <= JUDGED


@given(rows(), st.floats(-5, 0), st.floats(0, 5), st.integers(1, 14))
def test_readings_are_calm_if_each_value_is_within_its_bounds_and_before_the_end(readings, low, high, end):
    log = log_of()
    log.expect({metric: expectation(low, high, until=at(end)) for metric in JUDGED})
    calm = [log.add([one], JUDGED) for one in readings]

    for one, found in zip(readings, calm, strict=True):
        within = all(low <= value <= high for metric in JUDGED for _, _, value in values_of([one], metric))
        assert found == (within and one.timestamp < at(end))


def test_nothing_is_calm_before_something_was_judged():
    assert not log_of().add([reading(1, humidity=1.0)], JUDGED)


def test_a_metric_that_was_not_judged_yet_is_not_calm():
    for name in ("voltage", "co2"):
        log = log_of()
        log.expect({"temperature": expectation(0, 10)})
        assert log.add([reading(1, temperature=5.0, humidity=99.0, other=1.0)], JUDGED)
        assert not log.add([reading(2, **{name: 5.0})], JUDGED)


def test_a_late_reading_is_not_calm():
    log = log_of()
    log.expect({"temperature": expectation(0, 10, newest=5)})
    assert log.add([reading(5, temperature=5.0)], JUDGED)
    assert not log.add([reading(4, temperature=5.0)], JUDGED)


def test_the_time_of_arrival_is_never_too_early_and_at_most_some_seconds_late():
    log = log_of()
    moments = {}
    for seq, second in enumerate((0, 1, 9, 10, 12, 40, 41, 55), start=1):
        if second >= log.mark_at:
            log.arrive(now=at(second), moment=second)
        log.add([reading(seq, temperature=1.0)], JUDGED)
        moments[seq] = at(second)
    for seq, moment in moments.items():
        assert moment <= log.arrived(seq) <= moment + timedelta(seconds=ARRIVAL_SECONDS)


@given(rows(), st.integers(0, 12))
def test_a_metric_was_heard_when_its_last_value_arrived(readings, unpacked):
    log = log_of()
    for row in readings:
        log.arrivals.append((row.seq, at(row.seq)))
        log.add([row], JUDGED)
        if row.seq == unpacked:
            log.unpack(JUDGED)
    for metric in sorted(JUDGED):
        last = max([seq for seq, *_ in values_of(readings, metric)], default=None)
        assert log.heard(metric, JUDGED) == (None if last is None else at(last + ARRIVAL_SECONDS))


def test_what_was_forgotten_needs_no_memory():
    log = log_of()
    for seq in range(1, 5):
        log.add([reading(seq, temperature=1.0, co2=400.0)], JUDGED)
    log.unpack(JUDGED)
    log.forget(4, JUDGED)

    assert (log.first_seq, log.end, log.rows, log.times, log.arrivals) == (5, 5, [], [], [])
    assert all(len(track.values) == 0 for track in log.tracks.values())
