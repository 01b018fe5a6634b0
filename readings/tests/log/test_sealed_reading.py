"""Whatever is asked of a log has the same answer before and after its readings are sealed, however they are split."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from devices.models import Device
from devices.tests.fixtures import EVERYTHING
from readings.alarms.evaluation.positions import Part
from readings.log import reader
from readings.log.entries import NewReading
from readings.log.reader import Window
from readings.models import Reading
from readings.tests.logs import at, new, state_of, store
from readings.tests.sealing import seal, unseal

pytestmark = pytest.mark.django_db

# What databases and JSON treat differently: short decimals, halves, exponents, integers, extremes, zero.
NUMBERS = [21.5, 21, 0.1, 1 / 3, 1e16, 1e15, 2**53, -1e300, 5e-324, 1e-7, 0.0, 0, -40]
METRICS = ["temperature", "humidity", "voltage", "b", "a", "c2"]
VALUES = st.dictionaries(st.sampled_from(METRICS), st.sampled_from(NUMBERS), min_size=1)
ENTRIES = st.lists(st.tuples(st.integers(0, 8), VALUES), max_size=14)


def entry(device_id: str, seconds: float, values: dict[str, Any]) -> NewReading:
    own = {name: float(value) for name, value in values.items() if name in METRICS[:3]}
    return new(device_id, at(seconds), **own, extra={k: v for k, v in values.items() if k not in own})


def as_text(found: Any) -> str:
    """Every bit and the order of everything. `repr` tells 21 from 21.0."""
    return repr(found)


def questions(device_id: str, last_seq: int) -> list[str]:
    """The answers of the reader to many questions about the device, some of other windows than there are."""
    other = Device.objects.exclude(device_id=device_id).order_by("device_id").values_list("device_id", flat=True)[0]
    answers: list[Any] = [reader.count(device_id), reader.oldest_at(device_id), reader.about_stored()]
    for start, end in ((None, None), (at(2), at(5)), (None, at(4)), (at(3), None), (at(2.000001), at(7.5))):
        for metrics in (None, ["temperature"], ["a", "voltage"], ["absent"]):
            window = Window(device_id, start, end, metrics)
            for descending in (False, True):
                answers.append(reader.times(window, limit=99, descending=descending))
                for limit in (1, 3, 99):
                    beyond = None
                    pages = []
                    while page := reader.page(window, limit=limit, descending=descending, beyond=beyond):
                        pages.append(page)
                        beyond = page[-1].timestamp, page[-1].seq
                    answers.append(pages)
                answers.append(reader.page(window, limit=4, descending=descending, beyond=(at(3), 4)))
        answers += [reader.values(Window(device_id, start, end), name, limit=limit) for name in METRICS for limit in (2, 99)]
    for after in range(last_seq + 1):
        for limit in (1, 5, 99):
            answers.append(reader.logs_after({device_id: after}, limit=limit))
            answers.append(reader.logs_after({other: 0, device_id: after}, limit=limit))
        for with_extra in (False, True):
            asked = [Part(device_id, after, min(after + 4, last_seq), {}), Part(other, 0, 9, {})]
            answers.append(reader.parts(asked, with_extra=with_extra))
    answers.append(reader.newest_of_each(EVERYTHING, limit=99))
    return [as_text(answer) for answer in answers]


@limits(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=ENTRIES, chance=st.randoms(use_true_random=False))
def test_answers_are_the_same_before_and_after_sealing(db, other_device, entries, chance):
    device, _ = Device.objects.register(device_id=f"mote-{100 + Device.objects.count()}")
    store([*(entry(device.device_id, *values) for values in entries), new("mote-2"), new("mote-2", at(1))])
    state = state_of(device.device_id)
    if gaps := chance.sample(range(1, len(entries) + 1), len(entries) // 4):
        # Retention leaves the latest reading.
        Reading.objects.filter(device_id=device.device_id, seq__in=set(gaps) - {state.latest_seq})._raw_delete("default")
    before = questions(device.device_id, state.last_seq)
    for _ in range(3):
        until = chance.randint(0, state.last_seq)
        splits = [
            chance.sample(range(1, until + 1), chance.randint(0, until)) if chance.random() < 0.5 else [seq, seq + 1]
            for seq in (chance.randint(1, state.last_seq + 1) for _ in range(chance.randint(0, 6)))
        ]
        seal(device.device_id, splits, until=until)
        assert questions(device.device_id, state.last_seq) == before
        if chance.random() < 0.5:
            unseal(device.device_id)
            assert questions(device.device_id, state.last_seq) == before
    seal(device.device_id)
    assert not Reading.objects.filter(device_id=device.device_id).exists()
    assert questions(device.device_id, state.last_seq) == before
