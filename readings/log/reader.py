"""Reads stored readings: the only module that knows how the log is stored.

Whoever asks for readings asks here: history, CSV, pages, replays of sockets, alarms, imports and the console. The edges
of statistics, which are a part of a larger statement, are in `readings.log.sources`. Old readings are sealed in
segments; answers are the same before and after that. Whatever reads readings raises `readings.log.damage.LogDamaged` if
they are in a segment that cannot be read.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Count, F, OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce

from devices.metrics import COLUMNS
from devices.models import DeviceState
from devices.querysets import Viewer, of_visible_devices
from readings.log.entries import StoredReading
from readings.log.reading import by_id, by_seq, by_time
from readings.log.reading.by_seq import Part
from readings.log.reading.by_time import Chunk, Form, Position, Readings, Times, Values, Window
from readings.models import Reading, Segment

T = TypeVar("T")
__all__ = ["Chunk", "Part", "Position", "Window"]


def page(
    window: Window, *, limit: int, descending: bool = False, beyond: Position | None = None
) -> list[StoredReading]:
    """The first `limit` readings of the window by `(timestamp, seq)`; those after the position `beyond`, if given."""
    return by_time.first(window, Readings(), limit=limit, descending=descending, beyond=beyond)


def chunk(
    window: Window,
    form: Form[T],
    *,
    limit: int,
    segments: int = 1,
    descending: bool = False,
    beyond: Position | None = None,
) -> Chunk[T]:
    """The next readings of the window after `beyond` in a form, as many as one statement finds best, maybe none.

    At most `limit` rows or, of what is sealed, the readings of `segments` that begin there and of those that go on.
    """
    return by_time.next_chunk(window, form, limit=limit, descending=descending, beyond=beyond, segments=segments)


def times(window: Window, *, limit: int, descending: bool = False) -> list[datetime]:
    """The times of the first `limit` readings of the window, in their order."""
    return by_time.first(window, Times(), limit=limit, descending=descending)


def values(window: Window, metric: str, *, limit: int) -> list[tuple[int, datetime, float]]:
    """`(seq, timestamp, value)` of the first `limit` readings of the window that have the metric, by time.

    The metrics of the window do not count.
    """
    having = Window(window.device_id, window.start, window.end, [metric])
    return by_time.first(having, Values(metric), limit=limit)


def oldest_at(device_id: str) -> datetime | None:
    """The oldest time of the device's readings; None if it has none. Decodes no segment."""
    row = Reading.objects.filter(device_id=device_id).order_by("timestamp").values("timestamp")[:1]
    segment = Segment.objects.filter(device_id=device_id).order_by("first_at").values("first_at")[:1]
    state = DeviceState.objects.filter(device_id=device_id).annotate(row=Subquery(row), sealed=Subquery(segment))
    ends = state.values_list("row", "sealed").first() or ()
    return min((at for at in ends if at is not None), default=None)


def count(device_id: str) -> int:
    """The number of stored readings of the device. Takes time in proportion to it."""
    rows = Reading.objects.filter(device_id=device_id).order_by().values("device_id").annotate(n=Count("seq"))
    sealed = Segment.objects.filter(device_id=device_id).order_by().values("device_id").annotate(n=Sum("count"))
    state = DeviceState.objects.filter(device_id=device_id)
    counts = state.values_list(Subquery(rows.values("n")), Subquery(sealed.values("n"))).first() or ()
    return sum(number or 0 for number in counts)


def about_stored() -> int:
    """About how many readings are stored, from the ends of each log: it counts what retention left out in between."""
    row = Reading.objects.filter(device_id=OuterRef("device_id")).order_by("seq").values("seq")[:1]
    segment = Segment.objects.filter(device_id=OuterRef("device_id")).order_by("first_seq").values("first_seq")[:1]
    # Sealed readings come before all rows.
    oldest = Coalesce(Subquery(segment), Subquery(row))
    logs = DeviceState.objects.filter(last_seq__gt=0).annotate(length=F("last_seq") - oldest + 1)
    return int(logs.aggregate(total=Sum("length"))["total"] or 0)


def by_ids(asked: Sequence[tuple[str, UUID]]) -> list[StoredReading]:
    """The stored readings with these device ids and ids, in any order. The logs of the devices must be locked.

    Of sealed readings only those whose ids are noted (`readings.models.SealedId`): see `sealed_by_times`.
    """
    return by_id.by_ids(asked) if asked else []


def sealed_by_times(asked: Sequence[tuple[str, UUID, datetime]]) -> list[StoredReading]:
    """The sealed readings with these device ids, ids and times, in any order. The logs must be locked.

    Decodes times and ids of every segment that reaches over one of these times.
    """
    return by_id.sealed_by_times(asked) if asked else []


def newest_of_each(viewer: Viewer, *, after: str = "", limit: int) -> list[StoredReading]:
    """The newest reading by time of each of the first `limit` devices with readings, by device id, after `after`.

    Only of devices that the viewer may see. From the states of the devices, which have it.
    """
    states = DeviceState.objects.filter(of_visible_devices(viewer), latest_seq__isnull=False, device_id__gt=after)
    return [newest_of(state) for state in states.order_by("device_id")[:limit]]


def newest_of(state: DeviceState) -> StoredReading:
    assert state.latest_id is not None
    assert state.latest_seq is not None
    assert state.latest_at is not None
    metrics = state.latest_metrics()
    temperature, humidity, voltage = (metrics.pop(name, None) for name in COLUMNS)
    return StoredReading(
        state.latest_id, state.device_id, state.latest_seq, state.latest_at, temperature, humidity, voltage, metrics
    )


def logs_after(positions: Mapping[str, int], *, limit: int) -> list[StoredReading]:
    """The next entries after the position of each log, ordered by (device_id, seq), at most `limit` in total."""
    return by_seq.logs_after(positions, limit=limit)


def parts(asked: Sequence[Part], *, with_extra: bool) -> list[tuple[Any, ...]]:
    """Rows (device id, seq, time, the columns of COLUMNS and, with `with_extra`, the other metrics as a dict) of these
    parts, each of another device, by device and seq. Readings that retention deleted are missing."""
    return by_seq.parts(asked, with_extra=with_extra)
