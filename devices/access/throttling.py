"""`DEVICE_RATE_LIMIT`: how often a device may post."""

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
# Devices remembered before those that have been silent long enough are forgotten.
REMEMBERED_MIN = 1024


class InvalidRate(ValueError):
    """The text names no rate."""


class Rate(msgspec.Struct, frozen=True):
    """`count` requests in `period` seconds."""

    count: int
    period: int


@lru_cache(8)
def parse_rate(text: str) -> Rate | None:
    """The rate of a text such as `10/s`, `600/m`, `5000/h`; None of an empty one. Raises InvalidRate."""
    if not text:
        return None
    if not (match := RATE.fullmatch(text)):
        raise InvalidRate(f"{text!r} is no rate: write a number and s, m, h or d, such as 10/s or 600/m.")
    return Rate(int(match[1]), PERIODS[match[2]])


class RateLimit:
    """A bucket a device that holds `rate.count` requests and fills again within `rate.period`.

    Kept as one number a device, the moment at which its bucket will be full (the generic cell rate algorithm,
    ITU-T I.371). Moments are seconds of any clock that only runs forward.
    """

    def __init__(self, rate: Rate) -> None:
        self.period = float(rate.period)
        self.interval = rate.period / rate.count
        self.full_at: dict[str, float] = {}
        self.remembered_max = REMEMBERED_MIN

    def take(self, device_id: str, *, now: float) -> float:
        """Takes one request, and returns 0; or how many seconds it is too early, in which case nothing is taken."""
        full_at = max(self.full_at.get(device_id, now), now) + self.interval
        wait = full_at - now - self.period
        # A rounding error is no reason to refuse the last of a full bucket.
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
    """Counts requests, of devices' own keys; each process for itself. Gateways are not limited."""

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
