from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.db import IntegrityError, connections, models, transaction
from django.db.models import (
    Case,
    CharField,
    DateTimeField,
    DurationField,
    ExpressionWrapper,
    F,
    IntegerField,
    Q,
    Value,
    When,
)
from django.db.models.functions import Coalesce
from django.db.models.lookups import LessThanOrEqual

from devices.keys import generate_key, hash_key, key_hint
from devices.status import LATE_AFTER_INTERVALS, OFFLINE_AFTER_INTERVALS, Status

if TYPE_CHECKING:
    from devices.models import Device, DeviceState


OVERWRITE_ONE = """
UPDATE devices_devicestate
SET last_seq = %s, last_seen_at = %s, latest_seq = %s, latest_at = %s
WHERE device_id = %s
"""
OVERWRITE_MANY = """
UPDATE devices_devicestate AS state
SET last_seq = new.last_seq, last_seen_at = new.last_seen_at, latest_seq = new.latest_seq, latest_at = new.latest_at
FROM unnest(%s::bigint[], %s::timestamptz[], %s::bigint[], %s::timestamptz[], %s::text[])
    AS new (last_seq, last_seen_at, latest_seq, latest_at, device_id)
WHERE state.device_id = new.device_id
"""


class DeviceIdTaken(Exception):
    """There is a device of this id already."""


class DeviceQuerySet(models.QuerySet["Device"]):
    def register(self, *, device_id: str, name: str = "", report_interval: int | None = None) -> tuple["Device", str]:
        """A new device with its empty log, and its API key, which nobody can ever show again.

        Raises DeviceIdTaken. Takes the values as valid: serializers, forms and commands check them.
        """
        from devices.models import DeviceState

        key = generate_key()
        try:
            with transaction.atomic():
                device = self.create(
                    device_id=device_id,
                    name=name,
                    report_interval=report_interval,
                    api_key_hash=hash_key(key),
                    key_hint=key_hint(key),
                )
                DeviceState.objects.create(device=device)
        except IntegrityError as error:
            if self.filter(device_id=device_id).exists():
                raise DeviceIdTaken(device_id) from error
            raise
        return device, key

    def for_key(self, key: str, *, now: datetime) -> "Device | None":
        """The active device that this key belongs to, or whose retiring key it is until that expires."""
        digest = hash_key(key)
        return self.for_key_hashes([digest], now=now).get(digest)

    def for_key_hashes(self, digests: Collection[str], *, now: datetime) -> dict[str, "Device"]:
        """The active devices that these keys, by their hashes, belong to; one query for any number."""
        current = Q(api_key_hash__in=digests)
        retiring = Q(retiring_key_hash__in=digests, retiring_key_expires_at__gt=now)
        found: dict[str, Device] = {}
        for device in self.filter(current | retiring, is_active=True):
            if device.retiring_key_hash and device.retiring_key_expires_at and device.retiring_key_expires_at > now:
                found[device.retiring_key_hash] = device
            found[device.api_key_hash] = device
        return found

    def search(self, text: str) -> Self:
        return self.filter(Q(device_id__icontains=text) | Q(name__icontains=text))

    def with_status(self, *, now: datetime) -> Self:
        """Annotates `status`, a value of `devices.status.Status`."""
        interval = Coalesce(F("report_interval"), Value(settings.DEFAULT_REPORT_INTERVAL), output_field=IntegerField())

        def silent_for(intervals: int) -> LessThanOrEqual:
            # SQLite has to be told the type of every step, or it adds numbers to text.
            allowed = ExpressionWrapper(interval * Value(timedelta(seconds=intervals)), output_field=DurationField())
            deadline = ExpressionWrapper(F("state__last_seen_at") + allowed, output_field=DateTimeField())
            return LessThanOrEqual(deadline, Value(now, output_field=DateTimeField()))

        return self.annotate(
            status=Case(
                When(state__last_seen_at=None, then=Value(Status.NEVER)),
                When(silent_for(OFFLINE_AFTER_INTERVALS), then=Value(Status.OFFLINE)),
                When(silent_for(LATE_AFTER_INTERVALS), then=Value(Status.LATE)),
                default=Value(Status.ONLINE),
                output_field=CharField(),
            )
        )

    def of_status(self, status: Status) -> Self:
        """Of devices `with_status`, those that have this one."""
        return self.filter(Q(("status", status)))


class DeviceStateQuerySet(models.QuerySet["DeviceState"]):
    def overwrite(self, states: Collection["DeviceState"]) -> None:
        """Stores these states, whose rows the caller has locked: `bulk_update` takes ten times as long."""
        connection = connections[self.db]
        moment = connection.ops.adapt_datetimefield_value
        rows = [
            (state.last_seq, moment(state.last_seen_at), state.latest_seq, moment(state.latest_at), state.device_id)
            for state in states
        ]
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(OVERWRITE_MANY, [list(column) for column in zip(*rows, strict=True)])
            else:
                cursor.executemany(OVERWRITE_ONE, rows)
