"""Old rollups are sealed: no answer changes by a bit, late readings are added, and everything can be undone."""

import random
from datetime import timedelta
from io import StringIO
from zoneinfo import ZoneInfo

import msgspec
import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from devices.models import Device
from devices.tests.examples import examples
from readings.log.damage import StatisticsDamaged
from readings.log.segments.rollup_block import encode
from readings.models import Rollup, RollupBlock
from readings.statistics import tiers
from readings.statistics.aggregation import aggregate
from readings.statistics.beginning import earliest
from readings.statistics.buckets import parse_bucket
from readings.statistics.planning import block_start
from readings.statistics.statement import Question
from readings.statistics.tiers import HOURS, MINUTES
from readings.tests.logs import NOON, at, new, state_of, store
from readings.tests.upkeep.sealing.blocks import LATER, damage, seal_all
from readings.tests.upkeep.sealing.logs import raising, roll_all_up
from readings.upkeep import maintenance, retention, rollups
from readings.upkeep.clock import TrustedTime
from readings.upkeep.erasure import erase, holdings
from readings.upkeep.maintenance import maintain
from readings.upkeep.passes import Rotation
from readings.upkeep.rollups import roll_up
from readings.upkeep.sealing import stored_blocks
from readings.upkeep.sealing.seal_rollups import WAIT, SealableRollups, seal_device, seal_rollups
from readings.upkeep.sealing.stored_segments import NotAsEncoded
from readings.upkeep.sealing.unseal import unseal_rollups
from readings.upkeep.verification.log import verify

pytestmark = pytest.mark.django_db(transaction=True)

HOUR, DAY = 3600, 86_400
VALUES = [20.0, 21, 1 / 3, 1e300, -5.25, 5e-324, 0.1, -0.0, 0.0]


def rows_of(device_id="mote-1"):
    """All rollups that are rows, with the bits of their doubles."""
    rows = Rollup.objects.filter(device_id=device_id).order_by("seconds", "start", "metric")
    return msgspec.json.encode(list(rows.values_list("seconds", "start", "metric", "count", "sum", "min", "max")))


START, END = at(-DAY * 30 + 1234), at(DAY * 30 + 77)


def answers(device_id="mote-1", *, start=START, end=END):
    """Statistics of a window in many buckets, as bytes of JSON, so that each bit counts."""
    found = []
    for text, tz in (("", ""), ("30m", "UTC"), ("7h", "UTC"), ("1d", "UTC"), ("1d", "Asia/Kathmandu"), ("14d", "UTC")):
        bucket = parse_bucket(text, start=start, end=end, points=500, tz=ZoneInfo(tz)) if text else None
        question = Question(start, end, None, bucket)
        answer = aggregate(question, state_of(device_id))
        buckets = answer.by_bucket.items()
        found.append((answer.widened, sorted((begin, sorted(values.items())) for begin, values in buckets)))
    return msgspec.json.encode(found)


def test_no_answer_changes_by_a_bit(log):
    before, rows = answers(), rows_of()
    assert seal_all() == 384 * 2
    assert not Rollup.objects.exists()
    assert RollupBlock.objects.count() == 3 * 2
    assert answers() == before
    part = {"start": at(DAY * 9.9 + 321), "end": at(DAY * 10.3)}
    of_part = answers(**part)
    assert sum(unseal_rollups("mote-1")) == 384 * 2
    assert (rows_of(), answers(), answers(**part)) == (rows, before, of_part)
    assert not RollupBlock.objects.exists()


def test_an_aggregate_of_both_forms_is_one_statement(log):
    question = Question(at(0), at(DAY * 20), ["co2", "nothing"], None)
    state = state_of()
    before = aggregate(question, state)
    seal_all()
    with CaptureQueriesContext(connection) as queries:
        assert aggregate(question, state) == before
    assert len(queries) == 1


def test_a_block_waits_until_it_is_complete_and_most_late_readings_have_come(log):
    first = block_start(NOON, HOURS) + HOURS.block
    assert seal_all(now=first + WAIT - timedelta(seconds=1)) == 0
    assert sum(seal_rollups(HOURS, before=first, now=LATER, rotation=Rotation(), failed=raising)) > 0
    assert not Rollup.objects.filter(start__lt=first).exists()
    assert Rollup.objects.filter(start__gte=first).exists()


def test_a_late_reading_turns_its_metric_in_the_block_back_into_rows(log):
    seal_all()
    store([new(timestamp=at(30), temperature=-7.0)], received_at=LATER)
    roll_all_up()
    first = Rollup.objects.filter(metric="temperature").earliest("start")
    assert (first.start, first.count, first.min) == (NOON, 2, -7.0)
    assert set(Rollup.objects.values_list("metric", flat=True)) == {"temperature"}
    assert RollupBlock.objects.count() == 3 * 2 - 1
    assert list(verify("mote-1")) == []
    seal_all()
    assert not Rollup.objects.exists()
    assert list(verify("mote-1")) == []


def test_nothing_is_sealed_with_seal_after_days_0(log, settings, monkeypatch):
    monkeypatch.setattr(maintenance, "trusted_time", lambda last, *, now, uptime: TrustedTime(now, None))
    settings.SEAL_AFTER_DAYS = 0
    maintain(now=LATER)
    assert not RollupBlock.objects.exists()
    settings.SEAL_AFTER_DAYS = 2
    maintain(now=LATER)
    assert not Rollup.objects.exists()


def test_a_step_that_fails_changes_nothing_and_leaves_out_its_device(log, other_device, monkeypatch):
    store(new("mote-2", at(n)) for n in range(5))
    roll_all_up()
    before = rows_of()

    def broken(rows):
        return encode([(row[0], row[1] + 1, *row[2:]) for row in rows] if len(rows) > 1 else rows)

    monkeypatch.setattr(stored_blocks, "encode", broken)
    failed = []
    assert seal_all(failed=lambda item, error: failed.append((item.device_id, type(error)))) == 1
    assert failed == [("mote-1", NotAsEncoded)]
    assert rows_of() == before
    assert list(RollupBlock.objects.values_list("device_id", flat=True)) == ["mote-2"]


def test_the_database_refuses_to_change_a_block(log):
    seal_all()
    with pytest.raises(DatabaseError), transaction.atomic():
        RollupBlock.objects.update(data=b"")


def test_retention_deletes_whole_blocks_of_minutes_and_keeps_hours(device):
    store(new(timestamp=at(30 * n)) for n in range(3000))
    rollups.begin_minutes({"mote-1"})
    roll_all_up()
    seal_all()
    assert RollupBlock.objects.filter(seconds=60).count() == 7
    Device.objects.update(retention_days=1)
    list(retention.expire(now=at(DAY + 10 * HOUR)))
    # The border is 22:00; the block from 20:00 reaches over it.
    assert RollupBlock.objects.filter(seconds=60).earliest("start").start == at(8 * HOUR)
    assert RollupBlock.objects.filter(seconds=3600).count() == 1
    total = aggregate(Question(NOON, at(DAY + 2 * HOUR)), state_of()).by_bucket[NOON]["temperature"]
    assert total.count == 3000
    assert list(verify("mote-1")) == []


def test_statistics_begin_with_the_oldest_sealed_hour(log):
    Device.objects.update(retention_days=5)
    list(retention.expire(now=at(DAY * 30)))
    assert earliest(state_of()) == NOON
    seal_all()
    assert earliest(state_of()) == NOON


def test_an_erasure_deletes_blocks_too(log):
    seal_all()
    assert holdings(log).rollups == 384 * 2
    sum(erase(log, with_device=True))
    assert not RollupBlock.objects.exists()


def unsealed(*arguments):
    output = StringIO()
    call_command("unseal", *arguments, stdout=output)
    return output.getvalue()


def test_the_command_turns_statistics_back_into_rows(log, settings, monkeypatch):
    settings.SEAL_AFTER_DAYS = 0
    before = rows_of()
    seal_all()
    assert unsealed("--statistics") == "768 rollups became rows.\n"
    assert rows_of() == before
    assert unsealed() == "0 readings became rows.\n"


def test_a_damaged_block_is_named_and_everything_else_is_served(log, settings, monkeypatch):
    settings.SEAL_AFTER_DAYS = 0
    seal_all()
    damage(RollupBlock.objects.filter(metric="co2").order_by("start")[1])
    with pytest.raises(StatisticsDamaged) as raised:
        answers()
    assert raised.value.problem_members == {
        "device_id": "mote-1",
        "metric": "co2",
        "start": "2026-05-17T00:00:00.000000Z",
        "end": "2026-05-27T00:00:00.000000Z",
    }
    assert aggregate(Question(NOON, at(DAY * 30), ["temperature"]), state_of()).by_bucket
    (fault,) = verify("mote-1")
    assert fault.startswith(
        "the statistics of co2 in the hours from 2026-05-17 00:00 to 2026-05-27 00:00 UTC are damaged"
    )
    with pytest.raises(CommandError, match="The statistics of co2"):
        unsealed("--statistics")
    assert RollupBlock.objects.exists()


def test_a_late_reading_in_a_damaged_block_is_rolled_up_beside_it(log):
    seal_all()
    damage(RollupBlock.objects.filter(metric="temperature").earliest("start"))
    store([new(timestamp=at(30), temperature=-7.0)], received_at=LATER)
    roll_all_up()
    assert state_of().rolled_up_seq == 385
    assert (Rollup.objects.get().min, RollupBlock.objects.count()) == (-7.0, 3 * 2)


def test_check_log_names_rollups_that_are_sealed_and_rows(log):
    row = Rollup.objects.filter(metric="co2").earliest("start")
    values = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
    seal_all()
    Rollup.objects.create(**values)
    assert next(verify("mote-1")).endswith("UTC are sealed and rows")
    seal_all()
    assert next(verify("mote-1")).endswith("count 2, but 1 are stored")


class Twins:
    """Two devices with the same readings. Rollups of the first one are sealed and unsealed; the second is the model."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.sealed, self.model = (
            str(Device.objects.register(device_id=f"{name}-{seed}")[0].device_id) for name in ("sealed", "model")
        )
        self.now = NOON

    def post(self, back=0.0):
        chance = self.chance
        self.now += timedelta(seconds=chance.choice([1, 600, DAY / 4, DAY * 3]))
        for _ in range(chance.choice([1, 5, 20])):
            when = self.now - timedelta(days=back * chance.random())
            extra = {name: chance.choice(VALUES) for name in ("co2", "a") if chance.random() < 0.7}
            temperature = chance.random() * 40
            twins = [new(name, when, temperature=temperature, extra=extra) for name in (self.sealed, self.model)]
            store(twins, received_at=self.now)

    def post_late(self):
        self.post(back=self.chance.choice([1, 40]))

    def roll_up(self):
        roll_up(self.chance.choice([HOURS, MINUTES]))

    def begin_minutes(self):
        rollups.begin_minutes({self.sealed, self.model})

    def seal(self):
        for tier in (HOURS, MINUTES):
            until = block_start(self.now - timedelta(days=self.chance.choice([0, 3])), tier)
            list(seal_device(SealableRollups(self.sealed, tier, until)))

    def unseal(self):
        steps = unseal_rollups(self.sealed)
        for _ in range(self.chance.choice([1, 99])):
            if next(steps, None) is None:
                break

    def retain(self):
        days = self.chance.choice([10, 30])
        for device_id in (self.sealed, self.model):
            Device.objects.filter(device_id=device_id).update(retention_days=days)
        list(retention.expire(now=self.now))

    def check(self):
        start = self.now - timedelta(days=self.chance.choice([1, 10, 100]), seconds=self.chance.random() * DAY)
        window = {"start": start, "end": start + timedelta(days=self.chance.choice([0.7, 8, 120]))}
        assert answers(self.sealed, **window) == answers(self.model, **window)


OPERATIONS = {"post": 6, "post_late": 4, "roll_up": 8, "begin_minutes": 1, "seal": 6, "unseal": 1, "retain": 1}


@pytest.fixture
def without_sort(db):
    """PostgreSQL adds up readings in the order of the log, unless it chooses to sort them by device and bucket."""
    if connection.vendor != "postgresql":
        yield
        return
    connection.cursor().execute("SET enable_sort = off")
    yield
    connection.cursor().execute("RESET enable_sort")


@pytest.mark.one_database("nodes add up in an order of their own, on which the last digit of a sum depends")
@pytest.mark.examples
@pytest.mark.parametrize("seed", range(examples(1, of=3)))
def test_answers_are_those_of_a_device_that_was_never_sealed(without_sort, seed, monkeypatch):
    monkeypatch.setattr(tiers, "BLOCK_ROLLUPS", 7)
    twins = Twins(seed)
    names, weights = list(OPERATIONS), list(OPERATIONS.values())
    sealed = 0
    for _ in range(25):
        getattr(twins, twins.chance.choices(names, weights)[0])()
        twins.check()
        sealed = max(sealed, RollupBlock.objects.count())
    assert sealed
    roll_all_up()
    assert list(verify(twins.sealed)) == list(verify(twins.model)) == []
    sum(unseal_rollups(twins.sealed))
    # Minutes that retention has deleted of one may be left of the other, whose block reaches over the border.
    hours = Rollup.objects.filter(seconds=3600).order_by("start", "metric")
    figures = [
        msgspec.json.encode(
            list(hours.filter(device_id=device_id).values_list("start", "metric", "count", "sum", "min", "max"))
        )
        for device_id in (twins.sealed, twins.model)
    ]
    assert figures[0] == figures[1]
