"""What a link shows: the devices, metrics and period of its view, as far as its maker may see the devices."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import parse_qsl

from devices.access.callers import Caller, Role
from devices.models import ApiToken, Device
from devices.querysets import DeviceQuerySet
from devices.tags.names import TAGS_IN_FILTER_MAX
from readings.history.parameters import DEVICES_MAX
from readings.models import Metric
from readings.windows import InvalidMoment, parse_moment
from realtime.models import Share

# As RANGES in static/realtime/device/period.js; the page compares devices over 24 hours without a choice.
RANGES = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "1y": timedelta(days=365),
}
RANGE_DEFAULT = "24h"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The content of a view. `metrics` empty: the first one of the devices. `fixed`: the period, if it is fixed."""

    devices: tuple[str, ...]
    tags: tuple[str, ...]
    metrics: tuple[str, ...]
    length: timedelta
    fixed: tuple[datetime, datetime] | None

    def window(self, *, now: datetime) -> tuple[datetime, datetime]:
        return self.fixed or (now - self.length, now)


def shown_by(query: str, *, now: datetime) -> Shown:
    """What `/explore/` shows with this query string, which `saved_views` has checked."""
    pairs = parse_qsl(query)
    one = dict(pairs)

    def of(name: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(value for other, value in pairs if other == name))

    return Shown(
        devices=of("device_id"),
        tags=of("tag")[:TAGS_IN_FILTER_MAX],
        metrics=tuple(dict.fromkeys(name for name in one.get("metrics", "").split(",") if name)),
        length=RANGES.get(one.get("range", ""), RANGES[RANGE_DEFAULT]),
        fixed=fixed_window(one.get("start", ""), one.get("end", ""), now=now),
    )


def fixed_window(start: str, end: str, *, now: datetime) -> tuple[datetime, datetime] | None:
    """The period; None, as on the page, unless both are times and in order."""
    if not start or not end:
        return None
    try:
        window = parse_moment(start, now=now), parse_moment(end, now=now)
    except InvalidMoment:
        return None
    return window if window[0] < window[1] else None


def maker_of(share: Share, *, now: datetime) -> Caller:
    """Who made the link, which must be valid: the caller whose devices it shows."""
    if share.token_id is None:
        return Caller(role=Role.ADMIN, user=share.user)
    return Caller(role=Role.TOKEN, token=ApiToken.objects.by_id([share.token_id], now=now).get(share.token_id))


def devices_of(share: Share, shown: Shown, *, now: datetime) -> list[Device]:
    """The devices that the view names, then those of its tags, at most DEVICES_MAX, with their states.

    Devices and tags that do not exist any more are left out, because the reader of a link can do nothing about them.
    """
    devices: DeviceQuerySet = Device.objects.select_related("state")
    maker = maker_of(share, now=now)
    if maker.role is Role.TOKEN and maker.token is None:  # it has ended since the look-up
        return []
    devices = devices.visible_to(maker)
    named = {device.device_id: device for device in devices.filter(device_id__in=shown.devices)}
    chosen = [named[device_id] for device_id in shown.devices if device_id in named]
    if shown.tags:
        tagged = devices.tagged(shown.tags).exclude(device_id__in=list(named)).order_by("device_id")
        chosen += tagged[: max(0, DEVICES_MAX - len(chosen))]
    return chosen[:DEVICES_MAX]


def metrics_of(shown: Shown, devices: list[Device]) -> list[str]:
    """The metrics of the view; without any, the first one that the devices have, in the catalogue's order."""
    if shown.metrics:
        return list(shown.metrics)
    names = {name for device in devices for name in device.state.latest_values()}
    return Metric.objects.catalogue().in_order(names)[:1]
