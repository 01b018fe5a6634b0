import uuid
from datetime import datetime, timedelta

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction

from devices.keys import generate_key, hash_key, key_hint
from devices.querysets import AccessVersionQuerySet, DeviceQuerySet
from devices.states import DeviceStateQuerySet
from devices.validators import validate_device_id

REPORT_INTERVAL_SECONDS_MAX = 31 * 86_400
RETENTION_DAYS_MAX = 36_500


class Device(models.Model):
    """What operators edit of a device. What the machine writes of it is its `DeviceState`.

    Made by `Device.objects.register()`, which gives it its key and its state; never deleted, since its log stays.
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
    api_key_hash = models.CharField(max_length=128, unique=True, editable=False)
    key_hint = models.CharField("key starts with", max_length=16, editable=False)
    # Null, not empty, where there is none: it is unique.
    retiring_key_hash = models.CharField(max_length=128, unique=True, null=True, editable=False)  # noqa: DJ001
    retiring_key_expires_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = DeviceQuerySet.as_manager()

    def __str__(self) -> str:
        return self.device_id

    def rotate_key(self, *, overlap: timedelta, now: datetime) -> str:
        """Gives the device a new key and returns it; the one it had works until `now + overlap`.

        A key that was retiring already ends at once: no more than two work at a time.
        """
        key = generate_key()
        with transaction.atomic():
            current = Device.objects.select_for_update(no_key=True).get(pk=self.pk)
            self.retiring_key_hash = current.api_key_hash if overlap else None
            self.retiring_key_expires_at = now + overlap if overlap else None
            self.api_key_hash = hash_key(key)
            self.key_hint = key_hint(key)
            self.save(update_fields=["retiring_key_hash", "retiring_key_expires_at", "api_key_hash", "key_hint"])
        return key


class DeviceState(models.Model):
    """What the machine writes of a device: one narrow, hot row, locked by whoever appends to the device's log.

    `last_seq` is the length of the log. `latest_seq` and `latest_at` (both or neither) name the reading that is
    newest by its own time, which a late arrival is not: docs/decisions/0002-latest-reading-in-the-state.md.

    Readings up to `rolled_up_seq` are in the hourly rollups, up to `rolled_up_minutes_seq` in those of minutes (None:
    the device has none). Readings from before `raw_from`, a whole hour, may have been deleted by retention.
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
    raw_from = models.DateTimeField(null=True)
    latest_seq = models.BigIntegerField(null=True)
    latest_at = models.DateTimeField(null=True)

    objects = DeviceStateQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.device_id} at {self.last_seq}"


class AccessVersion(models.Model):
    """One row: `version` rises with every commit that may end somebody's right to see readings.

    The database itself raises it (migration 0003), so that no way of changing a key, device, account, permission or
    session is left out. Each commit of readings notes it, and live sockets are checked again before they are sent
    readings that were committed at a version which they were not checked at (`realtime.revocations`).
    """

    version = models.BigIntegerField()

    objects = AccessVersionQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.version)
