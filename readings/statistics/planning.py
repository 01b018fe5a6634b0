"""Which part of a window is answered from what: hourly rollups, rollups of minutes, or the readings themselves."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import msgspec

from readings.statistics.buckets import EPOCH, Bucket
from readings.statistics.tiers import HOURS, Tier


class Span(NamedTuple):
    """Half-open, `[start, end)`."""

    start: datetime
    end: datetime


class Plan(msgspec.Struct):
    """Spans that make up a window together, none overlapping; those of a tier begin and end where its rollups do.

    `widened`: what lies before the readings that are kept had to be taken by whole hours.
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
    """The coarsest rollups that lie wholly within one bucket, finer ones for the edges, readings for what is left.

    `tiers`: which there are to choose from, coarsest first. Before `raw_from`, a whole hour, there are only hours,
    whatever `tiers` says; there the window is widened to whole ones.
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
    """Whether no bucket begins within a rollup; for days that is true of all but some, which `inner_edges` names."""
    return bucket is None or bool(bucket.days) or bucket.seconds % tier.seconds == 0


def inner_edges(bucket: Bucket | None, span: Span, *, seconds: bool = True) -> Iterator[datetime]:
    """The starts of buckets within a span that are no whole hours; without `seconds` only those of days."""
    if bucket is None or (not bucket.days and (not seconds or fits(bucket, HOURS))):
        return
    for moment in bucket.starts(span.start, span.end):
        if moment > span.start and floor(moment, HOURS) != moment:
            yield moment


def floor(moment: datetime, tier: Tier) -> datetime:
    return EPOCH + (moment - EPOCH) // tier.width * tier.width


def ceiling(moment: datetime, tier: Tier) -> datetime:
    return floor(moment + tier.width - timedelta(microseconds=1), tier)
