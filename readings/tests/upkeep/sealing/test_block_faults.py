"""Blocks of rollups that are damaged, that two processes change, or that are many."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from devices.models import DeviceState
from readings.log.damage import StatisticsDamaged
from readings.models import Reading, Rollup, RollupBlock
from readings.statistics import beginning
from readings.statistics.beginning import earliest
from readings.statistics.tiers import HOURS, MINUTES
from readings.tests.logs import NOON, at, new, state_of, store
from readings.tests.upkeep.sealing.blocks import LATER, damage, seal_all
from readings.tests.upkeep.sealing.logs import raising, roll_all_up
from readings.upkeep import retention, rollups
from readings.upkeep.failures import Outrun
from readings.upkeep.passes import Rotation
from readings.upkeep.retention import CHUNK_BLOCKS, Expiry
from readings.upkeep.rollups import catch_up
from readings.upkeep.sealing import stored_blocks
from readings.upkeep.sealing.stored_blocks import to_rows
from readings.upkeep.sealing.unseal import unseal_rollups
from readings.upkeep.verification import blocks
from readings.upkeep.verification.log import verify

pytestmark = pytest.mark.django_db(transaction=True)


def test_rollups_are_sealed_again_although_the_block_of_another_metric_is_damaged(log):
    seal_all()
    damage(RollupBlock.objects.filter(metric="co2").earliest("start"))
    store([new(timestamp=at(30), temperature=-7.0)], received_at=LATER)
    roll_all_up()
    assert Rollup.objects.exists()
    seal_all()
    assert not Rollup.objects.exists()


def test_rollups_beside_a_damaged_block_of_their_metric_do_not_keep_others_from_being_sealed(log):
    seal_all()
    damage(RollupBlock.objects.filter(metric="co2").earliest("start"))
    store([new(timestamp=at(n), temperature=1.0, extra={"co2": 1}) for n in (30, 86_400 * 15)], received_at=LATER)
    roll_all_up()
    failed = []
    seal_all(failed=lambda item, error: failed.append((item.device_id, type(error))))
    assert failed == [("mote-1", StatisticsDamaged)]
    assert Rollup.objects.get().metric == "co2"
    assert RollupBlock.objects.count() == 3 * 2


def test_a_block_that_another_process_has_turned_into_rows_is_not_added_twice(log):
    seal_all()
    block = RollupBlock.objects.earliest("start", "metric")
    with transaction.atomic():
        to_rows([block])
    with pytest.raises(Outrun), transaction.atomic():
        to_rows([block])
    assert list(verify("mote-1")) == []


def test_a_damaged_block_does_not_keep_others_from_becoming_rows(log, settings):
    settings.SEAL_AFTER_DAYS = 0
    seal_all()
    damage(RollupBlock.objects.filter(metric="co2").order_by("start")[1])
    with pytest.raises(CommandError, match="The statistics of co2"):
        call_command("unseal", "--statistics", stdout=(output := StringIO()))
    assert RollupBlock.objects.count() == 1
    assert output.getvalue() == f"{Rollup.objects.count()} rollups became rows.\n"


def test_check_log_accepts_a_block_that_becomes_rows_meanwhile(log, monkeypatch):
    seal_all()
    real = stored_blocks.rollups_of

    def unsealing(block):
        sum(unseal_rollups("mote-1"))
        return real(block)

    monkeypatch.setattr(blocks, "rollups_of", unsealing)
    assert list(verify("mote-1")) == []
    assert not RollupBlock.objects.exists()


def test_retention_deletes_many_blocks_in_several_transactions(device, monkeypatch):
    """On SQLite nobody can post during one, and PostgreSQL ends a statement that takes too long."""
    starts = [NOON + n * MINUTES.block for n in range(2 * CHUNK_BLOCKS + 7)]
    of_device = {"device_id": "mote-1", "seconds": 60, "metric": "temperature", "data": b""}
    RollupBlock.objects.bulk_create(RollupBlock(start=start, **of_device) for start in starts)
    deleted: list[int] = []

    def execute(statement, parameters):
        count = real(statement, parameters)
        if "rollupblock" in statement:
            deleted.append(count)
        return count

    real = retention.execute
    monkeypatch.setattr(retention, "execute", execute)
    list(retention.deletions(Expiry("mote-1", "", starts[-1])))
    assert deleted == [CHUNK_BLOCKS, CHUNK_BLOCKS, 6]
    assert RollupBlock.objects.get().start == starts[-1]


def test_late_readings_of_many_devices_become_several_steps(log, other_device, monkeypatch):
    store(new("mote-2", at(5400 * n), temperature=n / 7, extra={"co2": n}) for n in range(384))
    roll_all_up()
    seal_all()
    both = {"temperature": 1.0, "extra": {"co2": 1}}
    store([new(name, at(30), **both) for name in ("mote-1", "mote-2")], received_at=LATER)
    monkeypatch.setitem(stored_blocks.UNSEALED_AT_ONCE, connection.vendor, 3)
    real = rollups.advance
    steps: list[int] = []

    def advance(tier, seq_ranges):
        steps.append(2 * (3 * 2) - RollupBlock.objects.count() - sum(steps))
        real(tier, seq_ranges)

    monkeypatch.setattr(rollups, "advance", advance)
    rotation = Rotation()
    rotation.position = ""  # one step for both, without the limit
    list(catch_up(HOURS, rotation, failed=raising))
    assert steps == [2, 2]
    assert [*verify("mote-1"), *verify("mote-2")] == []


def test_late_readings_of_one_device_become_several_steps(log, monkeypatch):
    """Each is a transaction, during which nobody can post on SQLite: bounded also if the readings are of years."""
    seal_all()
    assert RollupBlock.objects.count() == 3 * 2
    late = [new(timestamp=at(n), temperature=1.0, extra={"co2": 1}) for n in (30, 86_400 * 11, 60, 86_400 * 21)]
    store(late, received_at=LATER)
    monkeypatch.setitem(stored_blocks.UNSEALED_AT_ONCE, connection.vendor, 1)
    real = rollups.advance
    steps: list[tuple[int, int]] = []

    def advance(tier, seq_ranges):
        steps.append((3 * 2 - RollupBlock.objects.count() - sum(blocks for blocks, _ in steps), seq_ranges[0].length))
        real(tier, seq_ranges)

    monkeypatch.setattr(rollups, "advance", advance)
    list(catch_up(HOURS, Rotation(), failed=raising))
    # A single reading concerns a block of each of its metrics, so it may be more than the bound.
    assert steps == [(2, 1), (2, 1), (0, 1), (2, 1)]
    assert list(verify("mote-1")) == []


@pytest.fixture
def expired(log):
    """Retention has deleted all readings but the latest, so statistics begin with the oldest hour."""
    DeviceState.objects.update(raw_from=at(86_400 * 24))
    Reading.objects.filter(seq__lt=384).delete()
    seal_all()
    return log


def test_statistics_do_not_begin_later_because_a_block_becomes_rows_meanwhile(expired, monkeypatch):
    real = beginning.sealed_hours

    def unsealing(device_id):
        sum(unseal_rollups(device_id))
        return real(device_id)

    monkeypatch.setattr(beginning, "sealed_hours", unsealing)
    assert earliest(state_of()) == NOON


def test_statistics_begin_with_a_damaged_block_so_that_those_after_it_are_shown(expired):
    first = RollupBlock.objects.earliest("start").start
    for block in RollupBlock.objects.filter(start=first):
        damage(block)
    assert earliest(state_of()) == first < NOON
