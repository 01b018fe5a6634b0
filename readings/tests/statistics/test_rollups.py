"""Rollups: an aggregate equals the statistics of the readings, whenever they were rolled up."""

import random
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TransactionTestCase

from devices.models import Device, DeviceState
from devices.tests.examples import examples
from readings.history.parameters import time_zones
from readings.log.entries import NewReading
from readings.log.recording import record
from readings.models import Reading, Rollup
from readings.statistics import aggregation
from readings.statistics.aggregation import Answer, Statistics, aggregate, aggregate_each
from readings.statistics.buckets import Bucket, parse_bucket
from readings.statistics.statement import Question
from readings.statistics.tiers import HOURS, MINUTES, Tier
from readings.tests.logs import NOON, at, make_devices, new, state_of, store
from readings.upkeep import retention, rollups
from readings.upkeep.failures import Outrun
from readings.upkeep.rollups import roll_up

HOUR = 3600


def roll_all_up() -> None:
    while roll_up(HOURS) or roll_up(MINUTES):
        pass


def answered(start: datetime, end: datetime, bucket: Bucket | None = None, device_id: str = "mote-1") -> Answer:
    return aggregate(Question(start, end, None, bucket), state_of(device_id))


@pytest.mark.django_db(transaction=True)
class TestSteps:
    def test_a_step_adds_readings_to_their_hours_and_moves_the_position(self, device):
        store([new(timestamp=at(0), temperature=1.0), new(timestamp=at(HOUR - 1), temperature=4.0, extra={"pm": 7})])
        store([new(timestamp=at(HOUR), temperature=2.0)])

        assert roll_up(HOURS) == 3

        assert state_of().rolled_up_seq == 3
        found = Rollup.objects.order_by("start", "metric").values_list(
            "seconds", "start", "metric", "count", "sum", "min", "max"
        )
        assert list(found) == [
            (3600, NOON, "pm", 1, 7.0, 7.0, 7.0),
            (3600, NOON, "temperature", 2, 5.0, 1.0, 4.0),
            (3600, at(HOUR), "temperature", 1, 2.0, 2.0, 2.0),
        ]
        assert roll_up(HOURS) == 0

    def test_a_late_arrival_is_added_to_its_hour(self, device):
        store([new(timestamp=at(0), temperature=1.0)])
        roll_all_up()
        store([new(timestamp=at(HOUR * 5), temperature=9.0), new(timestamp=at(10), temperature=-3.0)])
        roll_all_up()
        first = Rollup.objects.get(start=NOON)
        assert (first.count, first.sum, first.min, first.max) == (2, -2.0, -3.0, 1.0)

    def test_a_step_takes_in_no_more_than_its_share(self, device, other_device, monkeypatch):
        monkeypatch.setitem(rollups.STEP_READINGS, connection.vendor, 10)
        store(new(timestamp=at(n)) for n in range(25))
        store(new("mote-2", at(n)) for n in range(7))
        assert [roll_up(HOURS) for _ in range(5)] == [10, 10, 5, 7, 0]
        assert [state_of(name).rolled_up_seq for name in ("mote-1", "mote-2")] == [25, 7]

    def test_minutes_begin_where_a_device_reports_often(self, device, other_device):
        store(new(timestamp=at(n * 9)) for n in range(400))
        store(new("mote-2", at(n * 11)) for n in range(327))
        roll_all_up()
        assert state_of("mote-1").rolled_up_minutes_seq == 400
        assert state_of("mote-2").rolled_up_minutes_seq is None
        minutes = Rollup.objects.filter(seconds=60)
        assert {r.device_id for r in minutes} == {"mote-1"}
        assert sum(r.count for r in minutes) == 400

    def test_nothing_is_changed_where_somebody_else_moved_the_position(self, device, monkeypatch):
        store([new()])
        behind = rollups.behind

        def outrun(*args: Any, **options: Any) -> Any:
            seq_ranges = behind(*args, **options)
            DeviceState.objects.update(rolled_up_seq=1)
            return seq_ranges

        monkeypatch.setattr(rollups, "behind", outrun)
        with pytest.raises(Outrun):
            roll_up(HOURS)
        assert not Rollup.objects.exists()

    def test_an_aggregate_is_one_statement_whatever_it_asks_for(self, device):
        store(new(timestamp=at(n * 9), extra={"pm": n}) for n in range(1000))
        roll_all_up()
        state = state_of()
        for text, tz in (("5m", "UTC"), ("1h", "UTC"), ("1d", "Asia/Kathmandu"), ("30s", "UTC")):
            start, end = at(100), at(8000)
            bucket = parse_bucket(text, start=start, end=end, points=500, tz=ZoneInfo(tz))
            with CaptureQueriesContext(connection) as queries:
                found = aggregate(Question(start, end, None, bucket), state)
            assert len(queries) == 1
            assert sum(metrics["pm"].count for metrics in found.by_bucket.values()) == 878 - 12 + 11

    def test_a_tier_far_behind_is_left_alone(self, device, monkeypatch):
        """After a large import, a query for one day must not read the years of readings not rolled up yet."""
        store(new(timestamp=at(n * 60)) for n in range(600))
        roll_all_up()
        store(new(timestamp=at(n * 60)) for n in range(-600, 0))
        assert aggregation.usable_tiers(state_of()) == [HOURS]
        monkeypatch.setattr(aggregation, "BEHIND_MAX", 599)
        assert aggregation.usable_tiers(state_of()) == []
        assert answered(at(0), at(600 * 60)).by_bucket[at(0)]["temperature"].count == 600

    def test_what_was_rolled_up_is_not_read_again(self, device):
        """The test deletes readings that were rolled up, so that only the rollups still include them."""
        store(new(timestamp=at(n * 60)) for n in range(600))
        roll_all_up()
        Reading.objects.filter(timestamp__gte=at(HOUR), timestamp__lt=at(8 * HOUR), seq__gt=1).delete()
        found = answered(at(600), at(9 * HOUR - 600))
        assert found.by_bucket[at(600)]["temperature"].count == 520


# --- Against brute force ------------------------------------------------------------------------------------

DAY = timedelta(days=1)
BEGIN = datetime(2026, 3, 27, tzinfo=UTC)
DAYS = 6
ZONES = ["UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe"]
DEVICES = ["fast", "slow"]

moments = st.one_of(
    st.floats(0, DAYS * 86_400, allow_nan=False).map(lambda s: BEGIN + timedelta(seconds=round(s, 6))),
    st.integers(0, DAYS * 96).map(lambda quarter: BEGIN + timedelta(minutes=15 * quarter)),
    st.integers(0, DAYS * 96).map(lambda quarter: BEGIN + timedelta(minutes=15 * quarter, microseconds=-1)),
)
values = st.one_of(st.integers(-1000, 1000).map(float), st.floats(-1e6, 1e6, allow_nan=False))
stored = st.tuples(
    st.just("store"),
    st.lists(
        st.tuples(
            st.sampled_from(DEVICES),
            moments,
            st.dictionaries(st.sampled_from(["temperature", "humidity", "voltage", "pm", "rssi"]), values, min_size=1),
        ),
        min_size=1,
        max_size=12,
    ),
)
bursts = st.tuples(st.just("burst"), moments, st.integers(0, 2**16))
maintained = st.tuples(st.just("roll up"), st.sampled_from([HOURS, MINUTES]), st.integers(1, 60))
expired = st.tuples(st.just("expire"), st.integers(0, DAYS * 24).map(lambda hours: BEGIN + timedelta(hours=hours)))
asked = st.tuples(
    st.just("ask"), st.sampled_from(DEVICES), moments, moments,
    st.sampled_from([None, "30s", "1m", "7m", "30m", "90m", "1h", "3h", "1d", "7d", "auto"]), st.sampled_from(ZONES),
    st.sampled_from([None, ["temperature"], ["pm"], ["humidity", "rssi"]]), st.sampled_from([0, 5, 100_000]),
)  # fmt: skip
actions = st.lists(st.one_of(stored, bursts, maintained, expired, asked, asked), min_size=4, max_size=40)


class Model:
    """The stored readings in memory, and `raw_from` of each device after retention."""

    def __init__(self) -> None:
        self.readings: dict[str, list[tuple[datetime, dict[str, float]]]] = {name: [] for name in DEVICES}
        self.raw_from: dict[str, datetime | None] = dict.fromkeys(DEVICES)

    def expected(self, question: Question, device_id: str) -> dict[datetime, dict[str, Statistics]]:
        """Computed by brute force: each reading in its bucket; before `raw_from` at the start of its hour."""
        found: dict[datetime, dict[str, Statistics]] = {}
        raw_from = self.raw_from[device_id]
        for moment, sent in self.readings[device_id]:
            counted = moment
            if raw_from is not None and moment < raw_from:
                hour = moment.replace(minute=0, second=0, microsecond=0)
                if hour + timedelta(hours=1) <= question.start or hour >= question.end:
                    continue
                counted = max(hour, question.start)
            elif not question.start <= moment < question.end:
                continue
            start = question.bucket.floor(counted) if question.bucket else question.start
            for name, value in sent.items():
                if question.metrics is None or name in question.metrics:
                    found.setdefault(start, {}).setdefault(name, Statistics()).add(1, value, value, value)
        return found


class TestAgainstBruteForce(TransactionTestCase):
    @pytest.mark.examples
    @settings(max_examples=examples(6, of=30 if connection.vendor == "sqlite" else 12))
    @given(actions)
    def test_every_aggregate_equals_what_the_readings_themselves_give(self, script):
        model = Model()
        for device_id in DEVICES:
            Device.objects.register(device_id=device_id)
        # With minute rollups from the start, and without.
        DeviceState.objects.filter(device_id="fast").update(rolled_up_minutes_seq=0)
        for name, *arguments in script:
            getattr(self, name.replace(" ", "_"))(model, *arguments)
        for device_id in DEVICES:
            for bucket in (None, "1h", "1m"):
                self.ask(model, device_id, BEGIN + timedelta(minutes=7), BEGIN + DAY * 5, bucket, "UTC", None, 100_000)

    def store(self, model: Model, sent: list[Any]) -> None:
        readings = []
        for device_id, moment, metrics in sent:
            model.readings[device_id].append((moment, metrics))
            columns = {name: metrics[name] for name in ("temperature", "humidity", "voltage") if name in metrics}
            extra = {name: value for name, value in metrics.items() if name not in columns}
            readings.append(NewReading(device_id=device_id, timestamp=moment, extra=extra, **columns))
        record(readings, received_at=NOON)

    def burst(self, model: Model, moment: datetime, seed: int) -> None:
        chance = random.Random(seed)
        self.store(
            model,
            [
                (chance.choice(DEVICES), moment + timedelta(seconds=chance.uniform(0, 7200)), {"temperature": float(n)})
                for n in range(50)
            ],
        )

    def roll_up(self, model: Model, tier: Tier, readings: int) -> None:
        before = rollups.STEP_READINGS[connection.vendor]
        rollups.STEP_READINGS[connection.vendor] = readings
        try:
            roll_up(tier)
        finally:
            rollups.STEP_READINGS[connection.vendor] = before

    def expire(self, model: Model, border: datetime) -> None:
        """A retention of one day, only during this step."""
        Device.objects.update(retention_days=1)
        sum(retention.expire(now=border + DAY))
        Device.objects.update(retention_days=0)
        for device_id, before in model.raw_from.items():
            model.raw_from[device_id] = border if before is None else max(before, border)

    def ask(
        self, model: Model, device_id: str, one: datetime, other: datetime, name: str | None, zone: str, metrics: Any,
        behind_max: int,
    ) -> None:  # fmt: skip
        start, end = min(one, other), max(one, other) + timedelta(microseconds=1)
        raw_from = model.raw_from[device_id]
        if name == "30s":
            end = min(end, start + DAY)
        bucket = None
        if name is not None:
            whole_hours = raw_from is not None and start < raw_from
            bucket = parse_bucket(
                name,
                start=start, end=end, points=500, tz=ZoneInfo(zone), whole_hours=whole_hours,
            )  # fmt: skip
        question = Question(start, end, metrics, bucket)
        with patch.object(aggregation, "BEHIND_MAX", behind_max):
            found = aggregate(question, state_of(device_id))
            # The same question about all devices in one statement.
            each = aggregate_each(question, [state_of(device) for device in DEVICES])
        self.compare(found, model.expected(question, device_id))
        for device in DEVICES:
            self.compare(each[device], model.expected(question, device))

    def compare(self, found: Answer, expected: dict[datetime, dict[str, Statistics]]) -> None:
        assert set(found.by_bucket) == set(expected)
        for begin, by_metric in expected.items():
            assert set(found.by_bucket[begin]) == set(by_metric)
            for metric, statistics in by_metric.items():
                got = found.by_bucket[begin][metric]
                assert (got.count, got.min, got.max) == (statistics.count, statistics.min, statistics.max)
                assert got.sum == pytest.approx(statistics.sum, rel=1e-9, abs=1e-6)


@pytest.mark.django_db(transaction=True)
def test_it_is_exact_at_every_moment_while_others_write_and_roll_up(device):
    """The count is at least the number acknowledged before, and at most the number sent."""
    sent, acknowledged = [0], [0]
    stop = threading.Event()

    def write() -> None:
        for number in range(60):
            sent[0] += 20
            record(
                [new(timestamp=at(number * 120 + n * 5 % 7200), extra={"pm": 1}) for n in range(20)], received_at=NOON
            )
            acknowledged[0] += 20
        connection.close()

    def roll() -> None:
        while not stop.is_set():
            roll_up(HOURS)
            roll_up(MINUTES)
        connection.close()

    threads = [threading.Thread(target=write), threading.Thread(target=roll)]
    DeviceState.objects.update(rolled_up_minutes_seq=0)
    minutes = parse_bucket("1m", start=at(-60), end=at(4 * HOUR), points=500, tz=ZoneInfo("UTC"))
    for thread in threads:
        thread.start()
    asked = 0
    while threads[0].is_alive() or asked < 10:
        for bucket in (None, minutes):
            least = acknowledged[0]
            found = answered(at(-60), at(4 * HOUR), bucket)
            counted = sum(metrics["pm"].count for metrics in found.by_bucket.values())
            assert least <= counted <= sent[0]
            asked += 1
    stop.set()
    for thread in threads:
        thread.join()
    assert answered(at(-60), at(4 * HOUR)).by_bucket[at(-60)]["pm"].count == sent[0] == 1200


def test_the_zones_asked_for_exist():
    assert set(ZONES) <= time_zones()


@pytest.mark.django_db
@pytest.mark.one_database("each shard has a statement")
def test_devices_are_taken_in_together(db):
    names = make_devices(30)
    store(new(name, at(n)) for n in range(3) for name in names)
    with CaptureQueriesContext(connection) as queries:
        behind = rollups.behind(HOURS, readings=1000)
        rollups.add(HOURS, behind)
    assert len(queries) == 2
    assert Rollup.objects.count() == 30
