"""Whatever is asked of a log has the same answer before and after its readings are sealed, however they are split."""

import random
from typing import Any

import pytest

from devices.database.work_kinds import STATEMENT_SECONDS, DatabaseTimeout, current_work
from devices.models import Device
from devices.tests.examples import examples
from devices.tests.fixtures import EVERYTHING
from readings.alarms.evaluation.positions import Part
from readings.log import reader
from readings.log.entries import NewReading
from readings.log.reader import Window
from readings.log.reading.by_time import Readings
from readings.models import Reading
from readings.statistics.aggregation import aggregate
from readings.statistics.statement import Question
from readings.tests.logs import at, new, state_of, store
from readings.tests.sealing import seal, unseal

pytestmark = pytest.mark.django_db

# What databases and JSON treat differently: short decimals, halves, exponents, integers, extremes, zero.
NUMBERS = [21.5, 21, 0.1, 1 / 3, 1e16, 1e15, 2**53, -1e300, 5e-324, 1e-7, 0.0, 0, -40]
METRICS = ["temperature", "humidity", "voltage", "b", "a", "c2"]
WINDOWS = [(None, None), (at(2), at(5)), (None, at(4)), (at(3), None), (at(2.000001), at(7.5))]
ASKED_METRICS = [None, None, ["temperature"], ["a", "voltage"], ["absent"]]


def entry(device_id: str, seconds: float, values: dict[str, Any]) -> NewReading:
    own = {name: float(value) for name, value in values.items() if name in METRICS[:3]}
    return new(device_id, at(seconds), **own, extra={k: v for k, v in values.items() if k not in own})


def as_text(found: Any) -> str:
    """Every bit and the order of everything. `repr` tells 21 from 21.0."""
    return repr(found)


def random_log(chance: random.Random) -> list[dict[str, Any]]:
    """Up to 20 readings, some at the same time, some late, each with some metrics: `(seconds, values)`."""
    return [
        {"seconds": chance.randint(0, 8)}
        | {name: chance.choice(NUMBERS) for name in chance.sample(METRICS, chance.randint(1, 4))}
        for _ in range(chance.randint(1, 20))
    ]


def answers(device_id: str, last_seq: int, seed: int) -> list[tuple[str, str]]:
    """Questions to the reader about the device, and their answers; the same questions for the same seed."""
    chance = random.Random(seed)
    found: dict[str, Any] = {
        "count": reader.count(device_id),
        "oldest": reader.oldest_at(device_id),
        "stored": reader.about_stored(),
        "newest": reader.newest_of_each(EVERYTHING, limit=99),
    }
    for _ in range(12):
        window = Window(device_id, *chance.choice(WINDOWS), chance.choice(ASKED_METRICS))
        descending, limit = chance.random() < 0.5, chance.choice([1, 3, 99])
        asked: dict[str, Any] = {"limit": limit, "descending": descending}
        found[f"times {window} {asked}"] = reader.times(window, **asked)
        pages: list[Any] = [reader.page(window, **asked)]
        while pages[-1] and len(pages) < 5:
            pages.append(reader.page(window, **asked, beyond=(pages[-1][-1].timestamp, pages[-1][-1].seq)))
        found[f"pages {window} {asked}"] = pages
        beyond = at(chance.randint(0, 9)), chance.randint(1, 20)
        found[f"page {window} {asked} {beyond}"] = reader.page(window, **asked, beyond=beyond)
        metric = chance.choice(METRICS)
        found[f"values {window} {metric} {limit}"] = reader.values(window, metric, limit=limit)
        found[f"chunks {window} {asked}"] = chunks(window, **asked)
        after = chance.randint(0, last_seq)
        found[f"after {after} {limit}"] = reader.logs_after({device_id: after}, limit=limit)
        both = {"mote-2": chance.randint(0, 2), device_id: after, "mote-9": 0}
        found[f"after {both} {limit}"] = reader.logs_after(both, limit=limit)
        ends = [Part(device_id, after, min(after + limit, last_seq), {}), Part("mote-2", 0, 9, {})]
        found[f"parts {ends}"] = [reader.parts(ends, with_extra=with_extra) for with_extra in (False, True)]
    # Every bit and the order of everything: `repr` tells 21 from 21.0.
    return [(question, repr(answer)) for question, answer in found.items()]


def chunks(window: Window, *, limit: int, descending: bool) -> list[Any]:
    """The readings of all chunks of the window."""
    found: list[Any] = []
    beyond = None
    while True:
        chunk = reader.chunk(window, Readings(), limit=limit, descending=descending, beyond=beyond)
        found += chunk.found
        if chunk.following is None:
            return found
        beyond = chunk.following


@pytest.mark.examples
@pytest.mark.parametrize("seed", range(examples(2, of=5)))
def test_answers_are_the_same_before_and_after_sealing(device, other_device, seed):
    chance = random.Random(seed)
    Device.objects.register(device_id="mote-9")
    log = random_log(chance)
    store([*(entry("mote-1", values.pop("seconds"), values) for values in log), new("mote-2"), new("mote-2", at(1))])
    state = state_of()
    gaps = {seq for seq in range(1, state.last_seq) if chance.random() < 0.2} - {state.latest_seq}
    Reading.objects.filter(device_id="mote-1", seq__in=gaps)._raw_delete("default")  # by retention
    before = answers("mote-1", state.last_seq, seed)
    for _ in range(3):
        until = chance.choice([state.last_seq, chance.randint(1, state.last_seq)])
        width = chance.choice([1, 3, 9])
        splits = [chance.sample(range(1, state.last_seq + 1), min(width, state.last_seq)) for _ in range(9)]
        seal("mote-1", splits, until=until)
        assert answers("mote-1", state.last_seq, seed) == before
        unseal("mote-1")
        assert answers("mote-1", state.last_seq, seed) == before
    seal("mote-1")
    assert not Reading.objects.filter(device_id="mote-1").exists()
    assert answers("mote-1", state.last_seq, seed) == before


def test_reading_many_segments_ends_after_the_time_of_a_statement(device, monkeypatch):
    store(new(timestamp=at(n)) for n in range(12))
    seal("mote-1", [[seq] for seq in range(1, 13)])
    assert reader.page(Window("mote-1", metrics=["rare"]), limit=5) == []
    question = Question(at(0), at(20))
    assert aggregate(question, state_of()).total(question)["temperature"].count == 12
    monkeypatch.setitem(STATEMENT_SECONDS, current_work.get(), -1.0)
    with pytest.raises(DatabaseTimeout):
        reader.page(Window("mote-1", metrics=["rare"]), limit=5)
    with pytest.raises(DatabaseTimeout):
        aggregate(question, state_of())
