"""The rate limit for posts of a device: the setting `DEVICE_RATE_LIMIT`."""

import re
import time
from functools import lru_cache
from typing import Any

import msgspec
from django.conf import settings
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from devices.access.authentication import caller_of

PERIODS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
RATE = re.compile(r"([1-9]\d{0,8})/([smhd])", re.ASCII)
# Number of devices in memory above which devices with a full bucket are removed.
REMEMBERED_MIN = 1024


class InvalidRate(ValueError):
    """The text is not a rate."""


class Rate(msgspec.Struct, frozen=True):
    """At most `count` requests in `period` seconds."""

    count: int
    period: int


@lru_cache(8)
def parse_rate(text: str) -> Rate | None:
    """Parses a rate such as `10/s`, `600/m` or `5000/h`; None for an empty text. Raises InvalidRate."""
    if not text:
        return None
    if not (match := RATE.fullmatch(text)):
        raise InvalidRate(f"{text!r} is not a rate. Write a number, a slash and s, m, h or d, such as 10/s or 600/m.")
    return Rate(int(match[1]), PERIODS[match[2]])


class RateLimit:
    """One token bucket per device: it holds `rate.count` requests and refills within `rate.period` seconds.

    Stored as one number per device: the time at which its bucket will be full again (the generic cell rate algorithm,
    ITU-T I.371). Times are seconds of any monotonic clock.
    """

    def __init__(self, rate: Rate) -> None:
        self.period = float(rate.period)
        self.interval = rate.period / rate.count
        self.full_at: dict[str, float] = {}
        self.remembered_max = REMEMBERED_MIN

    def take(self, device_id: str, *, now: float) -> float:
        """Takes one request from the bucket and returns 0.

        If the bucket is empty, takes nothing and returns how many seconds to wait.
        """
        full_at = max(self.full_at.get(device_id, now), now) + self.interval
        wait = full_at - now - self.period
        # The tolerance keeps a rounding error from refusing the last request of a full bucket.
        if wait > self.interval / 1000:
            return wait
        self.full_at[device_id] = full_at
        if len(self.full_at) > self.remembered_max:
            self.full_at = {name: moment for name, moment in self.full_at.items() if moment > now}
            self.remembered_max = max(REMEMBERED_MIN, 2 * len(self.full_at))
        return 0.0


@lru_cache(1)
def limit_of(rate: Rate) -> RateLimit:
    return RateLimit(rate)


class TooManyPosts(Throttled):
    default_code = "rate_exceeded"


class DeviceThrottle(BaseThrottle):
    """Limits requests with a device's own key, separately in each process. Gateways are not limited."""

    waiting = 0.0

    def allow_request(self, request: Request, view: Any) -> bool:
        rate = parse_rate(settings.DEVICE_RATE_LIMIT)
        device = caller_of(request).device
        if rate is None or device is None:
            return True
        self.waiting = limit_of(rate).take(device.device_id, now=time.monotonic())
        return not self.waiting

    def wait(self) -> float:
        return self.waiting
