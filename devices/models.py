import uuid
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction

from devices.changes.models import ChangeDetail
from devices.keys import generate_key, hash_key, key_hint
from devices.metrics import COLUMNS, LARGEST_EXACT_INTEGER
from devices.querysets import AccessVersionQuerySet, DeviceManager, TagQuerySet
from devices.states import EPOCH, DeviceStateManager, LatestValue
from devices.tags.names import NAME_CHARACTERS, Colour, validate_tag_name
from devices.times import encodable, rfc3339
from devices.tokens.models import AccountTag, ApiToken, TokenTag
from devices.validators import validate_device_id

__all__ = [
    "AccessVersion",
    "AccountTag",
    "ApiToken",
    "ChangeDetail",
    "Device",
    "DeviceState",
    "DeviceTag",
    "Tag",
    "TokenTag",
]

REPORT_INTERVAL_SECONDS_MAX = 31 * 86_400
RETENTION_DAYS_MAX = 36_500
LOCATION_CHARACTERS = 255
NOTES_CHARACTERS = 4_000
# The fields of a device that a key rotation changes.
KEY_FIELDS = ("api_key_hash", "key_hint", "previous_key_hint", "retiring_key_hash", "retiring_key_expires_at")


class RotationUnderWay(Exception):
    """An earlier key of the device works until `until`; another rotation with an overlap would end that key early."""

    def __init__(self, device_id: str, until: datetime) -> None:
        super().__init__(f"An earlier key of {device_id} works until {rfc3339(until)}.")
        self.device_id, self.until = device_id, until


latest_values = msgspec.json.Decoder(dict[str, LatestValue])


class Tag(models.Model):
    """A name and a colour for a group of devices. Written only by `devices.tags.tagging`.

    `key` is `tags.key_of` the name: two names with the same key are the same tag.
    """

    id = models.BigAutoField(primary_key=True)
    # Longer than NAME_CHARACTERS, because a name can become longer when Unicode composes it.
    name = models.CharField(
        max_length=4 * NAME_CHARACTERS,
        validators=[validate_tag_name],
        help_text="Such as greenhouse-3. Upper and lower case do not matter.",
    )
    key = models.CharField(max_length=16 * NAME_CHARACTERS, unique=True, editable=False)
    colour = models.CharField(max_length=10, choices=Colour.choices)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TagQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name


class Device(models.Model):
    """A device, with the fields that operators edit. The fields that the server writes are in `DeviceState`.

    Created by `Device.objects.register()`, which also creates its key and its state. Never deleted, because its log
    stays.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    device_id = models.CharField("device id", max_length=64, unique=True, validators=[validate_device_id])
    name = models.CharField(max_length=255, blank=True)
    is_active = models.BooleanField(
        "active", default=True, help_text="An inactive device's key is refused everywhere; its log stays."
    )
    report_interval = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(REPORT_INTERVAL_SECONDS_MAX)],
        help_text="How often it should report, in seconds. Empty: the default of this server.",
    )
    retention_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(RETENTION_DAYS_MAX)],
        help_text="How many days its readings are kept; 0: for ever. Empty: RETENTION_DAYS of this server. "
        "Statistics by the hour are kept in any case.",
    )
    location = models.CharField(
        max_length=LOCATION_CHARACTERS, blank=True, default="", db_default="", help_text="Where it is, in words."
    )
    latitude = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(-90), MaxValueValidator(90)],
        help_text="In degrees, north is positive, such as 52.52. With a longitude or not at all.",
    )
    longitude = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(-180), MaxValueValidator(180)],
        help_text="In degrees, east is positive, such as 13.405.",
    )
    notes = models.TextField(
        max_length=NOTES_CHARACTERS,
        blank=True,
        default="",
        db_default="",
        help_text="For people. Devices cannot read it.",
    )
    tags = models.ManyToManyField(Tag, through="DeviceTag", related_name="+")
    api_key_hash = models.CharField(max_length=128, unique=True, editable=False)
    key_hint = models.CharField("key starts with", max_length=16, editable=False)
    # Hint of the key before the current one, also after that key ended, because the device may still post with it.
    previous_key_hint = models.CharField(max_length=16, blank=True, editable=False)
    # NULL instead of empty if there is none, because the column is unique.
    retiring_key_hash = models.CharField(max_length=128, unique=True, null=True, editable=False)  # noqa: DJ001
    retiring_key_expires_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = DeviceManager()

    def __str__(self) -> str:
        return self.device_id

    def rotate_key(self, *, overlap: timedelta, now: datetime, force: bool = False) -> str:
        """Gives the device a new key and returns it; the current key works until `now + overlap`.

        At most two keys work at a time. With an overlap of 0, every earlier key ends immediately. With a longer one, an
        earlier key that is still within its own overlap would end early; this raises RotationUnderWay unless `force`.
        """
        with transaction.atomic():
            locked = Device.objects.select_for_update(no_key=True)
            self.refresh_from_db(fields=KEY_FIELDS, from_queryset=locked)
            key = self.replace_key(overlap=overlap, now=now, force=force)
            self.save(update_fields=KEY_FIELDS)
        return key

    def replace_key(self, *, overlap: timedelta, now: datetime, force: bool) -> str:
        """`rotate_key` in memory only. The caller must have locked the device's row, and must save KEY_FIELDS."""
        if overlap and not force and self.has_earlier_key(now=now):
            assert self.retiring_key_expires_at is not None
            raise RotationUnderWay(self.device_id, self.retiring_key_expires_at)
        key = generate_key()
        self.retiring_key_hash = self.api_key_hash if overlap else None
        self.retiring_key_expires_at = now + overlap if overlap else None
        self.api_key_hash = hash_key(key)
        self.previous_key_hint, self.key_hint = self.key_hint, key_hint(key)
        return key

    @property
    def key_hints(self) -> list[str]:
        """The first characters of the current key and of the one before it, where known."""
        return [hint for hint in (self.key_hint, self.previous_key_hint) if hint]

    def has_earlier_key(self, *, now: datetime) -> bool:
        """Whether a key that was rotated away is still within its overlap."""
        return self.retiring_key_expires_at is not None and self.retiring_key_expires_at > now


class DeviceTag(models.Model):
    """A tag of a device."""

    pk = models.CompositePrimaryKey("device_id", "tag_id")
    device = models.ForeignKey(
        Device, to_field="device_id", on_delete=models.CASCADE, related_name="+", db_column="device_id", db_index=False
    )
    tag = models.ForeignKey(Tag, on_delete=models.CASCADE, related_name="+")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.device_id} {self.tag_id}"


class DeviceState(models.Model):
    """The fields of a device that the server writes: a small, frequently updated row. Appending to the log locks it.

    `last_seq` is the length of the log. `latest_seq`, `latest_id` and `latest_at` (all or none set) identify the
    reading with the newest `timestamp`, which need not be the one with the highest `seq`:
    docs/decisions/0002-store-the-latest-reading-in-the-state.md. `latest` is a JSON object from each metric of the
    device to its value with the newest time, a `states.LatestValue`
    (docs/decisions/0035-store-latest-values-as-json-text.md). `names_seq` is the position in the log at which the set
    of these metrics last changed; 0 if there are no metrics.

    Readings up to `rolled_up_seq` are in the hourly rollups, readings up to `rolled_up_minutes_seq` are in the minute
    rollups (None: the device has no minute rollups). Readings up to `alarms_seq` have been judged by every rule that
    applies to the device; the position stays where it is while no rule does. `alarms_newest` is a JSON object from each
    metric that rules judge to the newest time, in microseconds since 1970, of its values up to there. Retention may
    have deleted readings before `raw_from`, which is a whole hour. Readings up to `sealed_seq` are in segments, later
    ones in rows (`readings.models.Segment`).
    """

    device = models.OneToOneField(
        Device,
        to_field="device_id",
        primary_key=True,
        on_delete=models.PROTECT,
        related_name="state",
        db_column="device_id",
    )
    last_seq = models.BigIntegerField(default=0)
    last_seen_at = models.DateTimeField(null=True)
    rolled_up_seq = models.BigIntegerField(default=0)
    rolled_up_minutes_seq = models.BigIntegerField(null=True)
    alarms_seq = models.BigIntegerField(default=0, db_default=0)
    alarms_newest = models.TextField(default="{}", db_default="{}")
    raw_from = models.DateTimeField(null=True)
    sealed_seq = models.BigIntegerField(default=0, db_default=0)
    latest_seq = models.BigIntegerField(null=True)
    latest_at = models.DateTimeField(null=True)
    latest_id = models.UUIDField(null=True)
    latest = models.TextField(default="{}")
    names_seq = models.BigIntegerField(default=0)
    # When the device, or its will (MQTT), said that it is offline; None after the next reading.
    said_offline_at = models.DateTimeField(null=True)

    objects = DeviceStateManager()

    def __str__(self) -> str:
        return f"{self.device_id} at {self.last_seq}"

    def latest_values(self) -> dict[str, LatestValue]:
        """The newest value of each metric of the device, by metric name."""
        return {name: with_own_type(name, latest) for name, latest in latest_values.decode(self.latest).items()}

    def latest_metrics(self) -> dict[str, float]:
        """The metrics of the reading with the newest time: the columns first, then the others by name."""
        if self.latest_seq is None:
            return {}
        values = {name: latest.value for name, latest in self.latest_values().items() if latest.seq == self.latest_seq}
        return {name: values[name] for name in (*COLUMNS, *sorted(values.keys() - COLUMNS)) if name in values}

    def latest_document(self) -> dict[str, Any] | None:
        """The reading with the newest time as the API returns readings; None if there is none."""
        if self.latest_seq is None or self.latest_at is None:
            return None
        return {
            "id": self.latest_id,
            "seq": self.latest_seq,
            "timestamp": encodable(self.latest_at),
        } | self.latest_metrics()

    def values_document(self) -> dict[str, dict[str, Any]]:
        """Of each metric its newest value by the reading's own time, as the API returns it. `seq`: None if unknown."""
        return {
            name: {
                "value": latest.value,
                "timestamp": rfc3339(EPOCH + timedelta(microseconds=latest.microseconds)),
                "seq": latest.seq or None,
            }
            for name, latest in self.latest_values().items()
        }


def with_own_type(name: str, latest: LatestValue) -> LatestValue:
    """Temperature, humidity and voltage are floats; other metrics are integers if they were sent as integers."""
    # PostgreSQL writes 1e300 with 301 digits, which JSON reads as an integer.
    if name in COLUMNS or abs(latest.value) > LARGEST_EXACT_INTEGER:
        return latest._replace(value=float(latest.value))
    return latest


class AccessVersion(models.Model):
    """One row: `version` increases with every commit that may end an account's or a key's right to view readings.

    Database triggers increase it (migration 0006), so that every kind of change of a key, device, account, permission
    or session counts. Each commit of readings records the version. If that version is newer than the one at which a
    live socket was last checked, the socket is checked again before the readings are sent to it
    (`realtime.stream.revocations`).
    """

    version = models.BigIntegerField()

    objects = AccessVersionQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.version)
