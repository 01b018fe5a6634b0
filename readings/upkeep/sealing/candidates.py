"""Which devices can be sealed, and up to which reading."""

from collections.abc import Callable, Collection
from datetime import datetime

import msgspec
from django.db.models import F, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce, Least

from devices.models import DeviceState
from readings.models import ReceiptMark
from readings.upkeep.passes import EVERY_ID, IdRange
from readings.upkeep.sealing.known_ids import IDS_KEPT
from readings.upkeep.sealing.marks import WAIT

# Fewer readings wait up to WAIT, because a small segment takes more bytes for each, and is written again to be filled.
WORTHWHILE = 256
PAGE_DEVICES = 500

# Says which devices' readings are read once more, in the order of their log, up to `alarms_seq`; None: all devices'.
Watching = Callable[[], Collection[str] | None]
watching: list[Watching] = []


def also_watches(watched: Watching) -> None:
    """Registers, once, an app above this package that has to read readings before they are sealed."""
    if watched not in watching:
        watching.append(watched)


class Sealable(msgspec.Struct, frozen=True):
    """Readings of a device that can be sealed: `after < seq <= until`.

    All of them were received before `noted_at`. The ids of readings up to `forgotten` are not noted, because they were
    received more than IDS_KEPT ago.
    """

    device_id: str
    after: int
    until: int
    noted_at: datetime
    forgotten: int

    @property
    def length(self) -> int:
        return self.until - self.after


class Limits(msgspec.Struct, frozen=True):
    """What a pass may seal: readings received before `before`. `now`: the time of the pass.

    `watched`: devices of which it seals only readings up to `alarms_seq`; None: of all devices.
    """

    before: datetime
    now: datetime
    watched: Collection[str] | None

    def allows_alarms_of(self, device_id: str) -> bool:
        return self.watched is not None and device_id not in self.watched


def limits(*, before: datetime, now: datetime) -> Limits:
    watched: set[str] = set()
    for watches in watching:
        found = watches()
        if found is None:
            return Limits(before, now, None)
        watched.update(found)
    return Limits(before, now, watched)


def candidates(allowed: Limits, ids: IdRange = EVERY_ID) -> tuple[list[Sealable], str | None]:
    """The devices of the next page in `ids` that can be sealed, by id; and the last id of the page, None: it is empty.

    A reading is sealed when it is in every rollup and was judged by every alarm rule. Fewer than WORTHWHILE readings
    are sealed only if they could have been for WAIT.
    """
    marks = ReceiptMark.objects.filter(device_id=OuterRef("device_id"), noted_at__lte=allowed.before)
    old = marks.filter(noted_at__lte=allowed.before - WAIT)
    forgotten = marks.filter(noted_at__lte=allowed.now - IDS_KEPT)
    states = DeviceState.objects.annotate(
        until=Least(
            Subquery(marks.order_by("-noted_at").values("seq")[:1]),
            "rolled_up_seq",
            Coalesce("rolled_up_minutes_seq", "rolled_up_seq"),
        ),
        noted_at=Subquery(marks.order_by("-noted_at").values("noted_at")[:1]),
        old=Coalesce(Subquery(old.order_by("-noted_at").values("seq")[:1]), 0),
        forgotten=Coalesce(Subquery(forgotten.order_by("-noted_at").values("seq")[:1]), 0),
    )
    # PostgreSQL ignores NULL in LEAST, so a device without a mark would be one up to its rollups.
    states = states.filter(device_id__gt=ids.after, noted_at__isnull=False).filter(
        Q(until__gte=F("sealed_seq") + WORTHWHILE) | Q(old__gt=F("sealed_seq"), until__gt=F("sealed_seq"))
    )
    if ids.until is not None:
        states = states.filter(device_id__lte=ids.until)
    found = list(
        states.order_by("device_id").values_list(
            "device_id", "sealed_seq", "until", "noted_at", "old", "forgotten", "alarms_seq"
        )[:PAGE_DEVICES]
    )
    page = []
    for identifier, after, until, noted_at, old_seq, forgotten_seq, alarms_seq in found:
        device_id = str(identifier)
        if not allowed.allows_alarms_of(device_id):
            until = min(until, alarms_seq)
        if until - after >= WORTHWHILE or (until > after and old_seq > after):
            page.append(Sealable(device_id, after, until, noted_at, forgotten_seq))
    return page, str(found[-1][0]) if found else None
