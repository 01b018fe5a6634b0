"""Plans an aggregate query: divides the window into spans for hourly rollups, minute rollups and readings."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import msgspec

from readings.statistics.buckets import EPOCH, Bucket
from readings.statistics.tiers import HOURS, Tier


class Span(NamedTuple):
    """A half-open time span, `[start, end)`."""

    start: datetime
    end: datetime


class Plan(msgspec.Struct):
    """Spans that together cover a window without overlap. Spans of a tier begin and end at the edges of its rollups.

    `raw`: spans of readings. `widened`: an edge before `raw_from` was widened to whole hours.
    """

    hours: list[Span] = []
    minutes: list[Span] = []
    raw: list[Span] = []
    widened: bool = False

    def of(self, tier: Tier) -> list[Span]:
        return self.hours if tier is HOURS else self.minutes


def plan(
    start: datetime, end: datetime, bucket: Bucket | None, *, tiers: Sequence[Tier], raw_from: datetime | None
) -> Plan:
    """Takes the coarsest rollups that lie completely within one bucket, finer ones at the edges, else readings.

    `tiers`: the available tiers, coarsest first. Before `raw_from`, which is a whole hour, only hours exist, whatever
    `tiers` says; there the window is widened to whole hours.
    """
    result = Plan()
    if raw_from is not None and start < raw_from:
        past = Span(floor(start, HOURS), min(ceiling(end, HOURS), raw_from))
        result.hours.append(past)
        result.widened = past.start < start or past.end > end or any(inner_edges(bucket, past))
        start = raw_from
    fitting = [tier for tier in tiers if fits(bucket, tier)]
    if start < end:
        for piece in pairwise([start, *inner_edges(bucket, Span(start, end), seconds=False), end]):
            cover(result, Span(*piece), fitting)
    return result


def cover(result: Plan, span: Span, tiers: Sequence[Tier]) -> None:
    if span.start >= span.end:
        return
    if not tiers:
        result.raw.append(span)
        return
    tier, *finer = tiers
    inner = Span(ceiling(span.start, tier), floor(span.end, tier))
    if inner.start >= inner.end:
        cover(result, span, finer)
        return
    result.of(tier).append(inner)
    cover(result, Span(span.start, inner.start), finer)
    cover(result, Span(inner.end, span.end), finer)


def fits(bucket: Bucket | None, tier: Tier) -> bool:
    """Whether no bucket begins inside a rollup. True for days too, except for the starts that `inner_edges` yields."""
    return bucket is None or bool(bucket.days) or bucket.seconds % tier.seconds == 0


def inner_edges(bucket: Bucket | None, span: Span, *, seconds: bool = True) -> Iterator[datetime]:
    """The starts of buckets inside a span that are not whole hours; without `seconds` only for buckets of days."""
    if bucket is None or (not bucket.days and (not seconds or fits(bucket, HOURS))):
        return
    for moment in bucket.starts(span.start, span.end):
        if moment > span.start and floor(moment, HOURS) != moment:
            yield moment


def floor(moment: datetime, tier: Tier) -> datetime:
    return EPOCH + (moment - EPOCH) // tier.width * tier.width


def ceiling(moment: datetime, tier: Tier) -> datetime:
    return floor(moment + tier.width - timedelta(microseconds=1), tier)


def block_start(moment: datetime, tier: Tier) -> datetime:
    """The start of the block of rollups that contains this time."""
    return EPOCH + (moment - EPOCH) // tier.block * tier.block
