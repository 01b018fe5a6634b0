import json
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connections, models, transaction
from django.db.models import (
    Case,
    CharField,
    Count,
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
from devices.status import FUTURE_TOLERANCE, LATE_AFTER_INTERVALS, OFFLINE_AFTER_INTERVALS, Status

if TYPE_CHECKING:
    from devices.models import AccessVersion, Device  # noqa: F401  the first is named in a base class


# Each half by its own unique index.
OWNERS_OF_KEYS = """
WITH asked AS (SELECT value AS hash FROM {asked})
SELECT asked.hash, device.id, device.device_id
FROM asked JOIN devices_device AS device ON device.api_key_hash = asked.hash
WHERE device.is_active
UNION ALL
SELECT asked.hash, device.id, device.device_id
FROM asked JOIN devices_device AS device ON device.retiring_key_hash = asked.hash
WHERE device.is_active AND device.retiring_key_expires_at > %s
"""


class DeviceIdTaken(Exception):
    """There is a device of this id already."""

    def __init__(self, device_id: str) -> None:
        super().__init__(device_id)
        self.device_id = device_id


class DeviceQuerySet(models.QuerySet["Device"]):
    def search(self, text: str) -> Self:
        return self.filter(Q(device_id__icontains=text) | Q(name__icontains=text))

    def with_status(self, *, now: datetime) -> Self:
        """Annotates `status`, a value of `devices.status.Status`.

        Where a wrong clock has dated the last receipt in the future, nobody knows when it was: such a device is offline
        until it is heard from again.
        """
        interval = Coalesce(F("report_interval"), Value(settings.DEFAULT_REPORT_INTERVAL), output_field=IntegerField())

        def silent_for(intervals: int) -> LessThanOrEqual:
            # SQLite has to be told the type of every step, or it adds numbers to text.
            allowed = ExpressionWrapper(interval * Value(timedelta(seconds=intervals)), output_field=DurationField())
            deadline = ExpressionWrapper(F("state__last_seen_at") + allowed, output_field=DateTimeField())
            return LessThanOrEqual(deadline, Value(now, output_field=DateTimeField()))

        return self.annotate(
            status=Case(
                When(state__last_seen_at=None, then=Value(Status.NEVER)),
                When(state__last_seen_at__gt=now + FUTURE_TOLERANCE, then=Value(Status.OFFLINE)),
                When(silent_for(OFFLINE_AFTER_INTERVALS), then=Value(Status.OFFLINE)),
                When(silent_for(LATE_AFTER_INTERVALS), then=Value(Status.LATE)),
                default=Value(Status.ONLINE),
                output_field=CharField(),
            )
        )

    def counts_by_status(self, *, now: datetime) -> dict[Status, int]:
        """How many active devices there are of each status; in one query."""
        judged: models.QuerySet[Any] = self.filter(is_active=True).with_status(now=now).order_by()
        counted = judged.values_list("status").annotate(Count("pk"))
        return dict.fromkeys(Status, 0) | {Status(status): count for status, count in counted}

    def of_status(self, status: Status) -> Self:
        """Of devices `with_status`, those that have this one."""
        return self.filter(Q(("status", status)))


DevicesByQuerySet = models.Manager.from_queryset(DeviceQuerySet)


class DeviceManager(DevicesByQuerySet["Device"]):
    """What is asked of, or done to, all devices at a time: it would ignore a QuerySet's filters, so none has it."""

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
        """The active devices that these keys, by their hashes, belong to; one query for any number.

        Only what says which device it is (`pk`, `device_id`) is loaded of each.
        """
        connection = connections[self.db]
        postgresql = connection.vendor == "postgresql"
        asked = "json_array_elements_text(%s::json) AS asked(value)" if postgresql else "json_each(%s)"
        moment = connection.ops.adapt_datetimefield_value(now)
        with connection.cursor() as cursor:
            cursor.execute(OWNERS_OF_KEYS.format(asked=asked), [json.dumps(list(digests)), moment])
            return {
                digest: self.model.from_db(self.db, ["id", "device_id"], [pk if postgresql else UUID(pk), device_id])
                for digest, pk, device_id in cursor.fetchall()
            }


class AccessVersionQuerySet(models.QuerySet["AccessVersion"]):
    def current(self) -> int:
        """The version of every change committed so far; 0 before the first one."""
        version: int | None = self.values_list("version", flat=True).first()
        return version or 0
