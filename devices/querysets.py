import json
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self
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
    OuterRef,
    Prefetch,
    Q,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce
from django.db.models.lookups import LessThanOrEqual

from devices.keys import generate_key, hash_key, key_hint
from devices.status import FUTURE_TOLERANCE, LATE_AFTER_INTERVALS, OFFLINE_AFTER_INTERVALS, Status
from devices.tags.names import distinct

if TYPE_CHECKING:
    from devices.models import AccessVersion, Device, Tag  # noqa: F401  named in base classes


# Two SELECTs, because each then uses its own unique index. The version is that of the same snapshot.
OWNERS_OF_KEYS = """
WITH asked AS (SELECT value AS hash FROM {asked}),
     access AS (SELECT coalesce(max(version), 0) AS version FROM devices_accessversion)
SELECT asked.hash, device.id, device.device_id, NULL, access.version
FROM access CROSS JOIN asked JOIN devices_device AS device ON device.api_key_hash = asked.hash
WHERE device.is_active
UNION ALL
SELECT asked.hash, device.id, device.device_id, device.retiring_key_expires_at, access.version
FROM access CROSS JOIN asked JOIN devices_device AS device ON device.retiring_key_hash = asked.hash
WHERE device.is_active AND device.retiring_key_expires_at > %s
"""


REGISTERED_AT_ONCE = 200


class DeviceIdTaken(Exception):
    """A device with this id already exists."""

    def __init__(self, device_id: str) -> None:
        super().__init__(device_id)
        self.device_id = device_id


class KeyOwner(NamedTuple):
    """The device of a key, until `until` (None: the key has no end) and while `AccessVersion` is `version`.

    Only `pk` and `device_id` of the device are loaded.
    """

    device: "Device"
    until: datetime | None
    version: int


class Viewer(Protocol):
    """Whoever asks for devices: a `devices.access.callers.Caller`."""

    @property
    def device(self) -> "Device | None": ...

    @property
    def limit(self) -> frozenset[int] | None: ...


def sees_every_device(viewer: Viewer) -> bool:
    return viewer.device is None and viewer.limit is None


class DeviceQuerySet(models.QuerySet["Device"]):
    def visible_to(self, viewer: Viewer) -> Self:
        """Only devices that the viewer may see. The one place that decides it.

        A device sees itself; a viewer that is limited to tags sees the devices that have at least one of them.
        """
        from devices.models import DeviceTag

        if viewer.device is not None:
            return self.filter(pk=viewer.device.pk)
        if viewer.limit is None:
            return self
        having: models.QuerySet[Any] = DeviceTag.objects.filter(tag_id__in=viewer.limit)
        return self.filter(device_id__in=having.values("device_id"))

    def search(self, text: str) -> Self:
        return self.filter(Q(device_id__icontains=text) | Q(name__icontains=text))

    def tagged(self, names: Iterable[str]) -> Self:
        """Only devices that have all of these tags, in any case of letters; without names: every device."""
        from devices.models import DeviceTag

        if not (keys := list(distinct(names))):
            return self
        # A subquery, so that locks, updates and other joins of the chain concern devices alone.
        having: models.QuerySet[Any] = DeviceTag.objects.filter(tag__key__in=keys).values("device_id")
        having = having.annotate(matching=Count("tag_id")).filter(matching=len(keys))
        return self.filter(device_id__in=having.values("device_id"))

    def with_tags(self) -> Self:
        """Loads the tags of the devices, in the order of their names, with one query for all devices."""
        from devices.models import Tag

        return self.prefetch_related(Prefetch("tags", Tag.objects.by_name()))

    def with_status(self, *, now: datetime) -> Self:
        """Annotates `status`, a value of `devices.status.Status`.

        If a wrong clock dated the last receipt in the future, its real time is unknown; such a device is offline until
        it is heard from again.
        """
        interval = Coalesce(F("report_interval"), Value(settings.DEFAULT_REPORT_INTERVAL), output_field=IntegerField())

        def silent_for(intervals: int) -> LessThanOrEqual:
            # SQLite needs the type of every step; without it, it adds numbers to text.
            allowed = ExpressionWrapper(interval * Value(timedelta(seconds=intervals)), output_field=DurationField())
            deadline = ExpressionWrapper(F("state__last_seen_at") + allowed, output_field=DateTimeField())
            return LessThanOrEqual(deadline, Value(now, output_field=DateTimeField()))

        return self.annotate(
            status=Case(
                When(state__last_seen_at=None, then=Value(Status.NEVER)),
                When(state__last_seen_at__gt=now + FUTURE_TOLERANCE, then=Value(Status.OFFLINE)),
                When(state__said_offline_at__isnull=False, then=Value(Status.OFFLINE)),
                When(silent_for(OFFLINE_AFTER_INTERVALS), then=Value(Status.OFFLINE)),
                When(silent_for(LATE_AFTER_INTERVALS), then=Value(Status.LATE)),
                default=Value(Status.ONLINE),
                output_field=CharField(),
            )
        )

    def counts_by_status(self, *, now: datetime) -> dict[Status, int]:
        """The number of active devices of each status, in one query."""
        judged: models.QuerySet[Any] = self.filter(is_active=True).with_status(now=now).order_by()
        counted = judged.values_list("status").annotate(Count("pk"))
        return dict.fromkeys(Status, 0) | {Status(status): count for status, count in counted}

    def of_status(self, status: Status) -> Self:
        """Only devices with this status; requires `with_status` before it."""
        return self.filter(Q(("status", status)))


DevicesByQuerySet = models.Manager.from_queryset(DeviceQuerySet)


class DeviceManager(DevicesByQuerySet["Device"]):
    """Methods for all devices; not methods of the QuerySet, because they would ignore its filters."""

    def register(
        self, *, device_id: str, name: str = "", report_interval: int | None = None, **more: Any
    ) -> tuple["Device", str]:
        """Creates a device with an empty log; returns it and its API key, of which only the hash is stored.

        `more`: the fields `location`, `latitude`, `longitude` and `notes`. Tags are given by `devices.tags.tagging`.

        Raises DeviceIdTaken. Does not validate the values; serializers, forms and commands do.
        """
        from devices.models import DeviceState

        key = generate_key()
        try:
            with transaction.atomic():
                device = self.create(
                    device_id=device_id,
                    name=name,
                    report_interval=report_interval,
                    **more,
                    api_key_hash=hash_key(key),
                    key_hint=key_hint(key),
                )
                DeviceState.objects.create(device=device)
        except IntegrityError as error:
            if self.filter(device_id=device_id).exists():
                raise DeviceIdTaken(device_id) from error
            raise
        return device, key

    def register_all(self, fields: Sequence[dict[str, Any]]) -> list[tuple["Device", str]]:
        """As `register`, many devices in a few statements, in this order. `fields`: its arguments for each device.

        Raises IntegrityError if one of the ids is taken; the caller's transaction is then over.
        """
        from devices.models import DeviceState

        keys = [generate_key() for _ in fields]
        new = [
            self.model(**values, api_key_hash=hash_key(key), key_hint=key_hint(key))
            for values, key in zip(fields, keys, strict=True)
        ]
        devices = self.bulk_create(new, batch_size=REGISTERED_AT_ONCE)
        states = [DeviceState(device=device) for device in devices]
        DeviceState.objects.bulk_create(states, batch_size=REGISTERED_AT_ONCE)
        return list(zip(devices, keys, strict=True))

    def for_key(self, key: str, *, now: datetime) -> "Device | None":
        """The active device whose current key, or unexpired retiring key, this is; None if there is none."""
        digest = hash_key(key)
        return self.for_key_hashes([digest], now=now).get(digest)

    def for_key_hashes(self, digests: Collection[str], *, now: datetime) -> dict[str, "Device"]:
        """The active devices that these keys belong to, by key hash, in one query. Unknown hashes are left out.

        Only `pk` and `device_id` of each device are loaded.
        """
        return {digest: owner.device for digest, owner in self.owners_of_keys(digests, now=now).items()}

    def owners_of_keys(self, digests: Collection[str], *, now: datetime) -> dict[str, KeyOwner]:
        """As `for_key_hashes`, with how long each of the answers is valid."""
        connection = connections[self.db]
        postgresql = connection.vendor == "postgresql"
        asked = "json_array_elements_text(%s::json) AS asked(value)" if postgresql else "json_each(%s)"
        moment = connection.ops.adapt_datetimefield_value(now)
        with connection.cursor() as cursor:
            cursor.execute(OWNERS_OF_KEYS.format(asked=asked), [json.dumps(list(digests)), moment])
            return {
                digest: KeyOwner(
                    self.model.from_db(self.db, ["id", "device_id"], [pk if postgresql else UUID(pk), device_id]),
                    until if postgresql or until is None else datetime.fromisoformat(until).replace(tzinfo=UTC),
                    version,
                )
                for digest, pk, device_id, until, version in cursor.fetchall()
            }


def of_visible_devices(viewer: Viewer, column: str = "device_id") -> Q:
    """Matches rows whose `column` has the id of a device that the viewer may see."""
    from devices.models import Device

    if sees_every_device(viewer):
        return Q()
    return Q(**{f"{column}__in": Device.objects.visible_to(viewer).values("device_id")})


class OfTags(NamedTuple):
    """A viewer that sees the devices with at least one of these tags."""

    limit: frozenset[int]
    device: None = None


def visible_ids(device_ids: Collection[str], limit: frozenset[int]) -> set[str]:
    """Those of the devices that a viewer limited to these tags may see. One query."""
    from devices.models import Device

    visible = Device.objects.visible_to(OfTags(limit)).filter(device_id__in=device_ids)
    return set(visible.values_list("device_id", flat=True))


class TagQuerySet(models.QuerySet["Tag"]):
    def visible_to(self, viewer: Viewer) -> Self:
        """The tags of devices that the viewer may see, and those that limit the viewer."""
        from devices.models import DeviceTag

        if sees_every_device(viewer):
            return self
        of_devices: models.QuerySet[Any] = DeviceTag.objects.filter(of_visible_devices(viewer))
        return self.filter(Q(pk__in=of_devices.values("tag_id")) | Q(pk__in=viewer.limit or ()))

    def named(self, names: Iterable[str]) -> Self:
        """The tags with these names, in any case of letters."""
        return self.filter(key__in=list(distinct(names)))

    def by_name(self) -> Self:
        return self.order_by("key")

    def with_counts(self, viewer: Viewer | None = None) -> Self:
        """Annotates `device_count`, the number of devices with the tag; of those that the viewer may see, if given."""
        from devices.models import DeviceTag

        visible = Q() if viewer is None else of_visible_devices(viewer)
        having: models.QuerySet[Any] = DeviceTag.objects.filter(visible, tag=OuterRef("pk")).order_by().values("tag")
        counted = Subquery(having.annotate(number=Count("device_id")).values("number"), output_field=IntegerField())
        return self.annotate(device_count=Coalesce(counted, 0))


class AccessVersionQuerySet(models.QuerySet["AccessVersion"]):
    def current(self) -> int:
        """The current version; 0 before the first change."""
        version: int | None = self.values_list("version", flat=True).first()
        return version or 0
