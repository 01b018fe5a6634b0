from datetime import timedelta

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q

from devices.metrics import DECIMALS_MAX, LARGEST_VALUE, ORDER_DEFAULT, ORDER_MAX, Description
from devices.models import Device
from readings.fields import ExtraField
from readings.log.ids import uuid7
from readings.querysets import SKIPPED_PREFIX, MetricQuerySet, ReadingManager, RejectionQuerySet

LABEL_LENGTH, UNIT_LENGTH = 60, 20
SINGLE_LINE = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*"
# \Z, because $ would accept a trailing line feed.
validate_single_line = RegexValidator(
    rf"^{SINGLE_LINE}\Z", "Write one line, without tabs and other control characters.", code="control_character"
)
finite = [MinValueValidator(-LARGEST_VALUE), MaxValueValidator(LARGEST_VALUE)]


class OfDevice(models.Model):
    """A row of a device's log. Every key and index of these tables begins with the device, or names it."""

    device = models.ForeignKey(
        Device,
        to_field="device_id",
        on_delete=models.PROTECT,
        related_name="+",  # no `device.readings`, because the manager's methods would ignore the device
        db_column="device_id",
        db_index=False,  # other indexes begin with it
    )

    class Meta:
        abstract = True


class Reading(OfDevice):
    """One entry of a device's log: immutable, append-only, written only by `readings.log.recording`.

    `seq` is 1, 2, 3, … per device, without gaps, in commit order. A trigger of the database refuses UPDATE (migration
    0002). Only `readings.upkeep` deletes readings: for retention and erasure.

    An `id` is unique for its device only: the database's key is `(id, device_id)` (migration 0013). Django is told that
    it is `id`, because the admin refuses composite keys. So nothing may look for a reading by `pk` alone.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    seq = models.BigIntegerField()
    timestamp = models.DateTimeField(help_text="When it was measured, by the server's clock.")
    temperature = models.FloatField("temperature (°C)", null=True)
    humidity = models.FloatField("humidity (%)", null=True)
    voltage = models.FloatField("voltage (V)", null=True)
    extra = ExtraField("other metrics", default=dict)

    objects = ReadingManager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["device", "seq"], name="readings_reading_device_seq")]
        indexes = [models.Index(fields=["device", "timestamp", "seq"], name="readings_reading_time_seq")]

    def __str__(self) -> str:
        return f"{self.device_id} #{self.seq}"


class Segment(OfDevice):
    """Up to 2,048 readings of one device, compressed by columns (docs/log-format.md).

    A reading with `seq` up to its device's `DeviceState.sealed_seq` is in exactly one segment, a later one is a
    `Reading`. Written only by `readings.upkeep.sealing`, retention and erasure, which delete and insert whole segments;
    a trigger of the database refuses UPDATE (migration 0011).

    `first_seq`, `last_seq`, `first_at` and `last_at` are the smallest and largest number and time in it; numbers in
    between can be in other segments. `late`: its readings were older than others before them in the log, so its times
    can reach over those of many other segments.
    """

    pk = models.CompositePrimaryKey("device_id", "first_seq")
    first_seq = models.BigIntegerField()
    last_seq = models.BigIntegerField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    count = models.PositiveSmallIntegerField()
    late = models.BooleanField()
    data = models.BinaryField()

    class Meta:
        default_permissions = ()
        indexes = [
            models.Index(fields=["device", "first_at"], name="readings_segment_first_at"),
            models.Index(fields=["device", "last_at"], name="readings_segment_last_at"),
        ]

    def __str__(self) -> str:
        return f"{self.device_id} #{self.first_seq} to #{self.last_seq}"


class SealedId(OfDevice):
    """The id of a reading in a segment, by which a repeated post is recognised as a duplicate.

    Only of ids that clients gave, for `readings.upkeep.sealing.known_ids.IDS_KEPT` after their receipt.
    """

    pk = models.CompositePrimaryKey("device_id", "id")
    id = models.UUIDField()
    seq = models.BigIntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.device_id} #{self.seq}"


class ReceiptMark(OfDevice):
    """Readings of the device up to `seq` were received before `noted_at`, since no reading has a time of receipt.

    `readings.upkeep.sealing.marks` notes it at most once a day, and knows from it what is old enough to be sealed.
    """

    pk = models.CompositePrimaryKey("device_id", "noted_at")
    noted_at = models.DateTimeField()
    seq = models.BigIntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.device_id} #{self.seq} at {self.noted_at:%Y-%m-%d %H:%M:%S}"


class Rollup(OfDevice):
    """Statistics of one metric of one device in one UTC hour (`seconds` 3600) or one UTC minute (`seconds` 60).

    Written only by `readings.upkeep`. Every device has hours; only devices that report often have minutes. Old ones are
    in a `RollupBlock` instead.
    """

    pk = models.CompositePrimaryKey("device_id", "seconds", "start", "metric")
    seconds = models.PositiveSmallIntegerField()
    start = models.DateTimeField()
    metric = models.CharField(max_length=63)
    count = models.BigIntegerField()
    sum = models.FloatField()
    min = models.FloatField()
    max = models.FloatField()

    def __str__(self) -> str:
        return f"{self.device_id} {self.metric} {self.start:%Y-%m-%d %H:%M} ({self.seconds} s)"


class RollupBlock(OfDevice):
    """The rollups of one metric that begin within a block of time, compressed by columns (docs/log-format.md).

    `seconds`: as in `Rollup`. `start`: of the block, a multiple of `readings.statistics.tiers.Tier.block` since 1970.
    The rollups of a block and metric are either rows of `Rollup` or in here. Written only by `readings.upkeep.sealing`,
    and deleted by retention and erasure; a trigger of the database refuses UPDATE (migration 0014).
    """

    pk = models.CompositePrimaryKey("device_id", "seconds", "start", "metric")
    seconds = models.PositiveSmallIntegerField()
    start = models.DateTimeField()
    metric = models.CharField(max_length=63)
    data = models.BinaryField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.device_id} {self.metric} from {self.start:%Y-%m-%d %H:%M} ({self.seconds} s)"


class IdKey(models.Model):
    """One row: the secret `key`, from which `readings.log.ids.ServerIds` derives ids of readings."""

    key = models.BinaryField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return "the key of ids"


class Metric(models.Model):
    """An entry of the catalogue: how people see the metric `name`, of whichever device.

    The common ones are there from the start; `readings.catalogue.names` adds each other name when a device has sent it,
    without a label and a unit, and bounds their number. Operators describe them. An empty label means the name.
    """

    name = models.CharField(max_length=63, primary_key=True)
    label = models.CharField(
        max_length=LABEL_LENGTH, blank=True, validators=[validate_single_line], help_text="Empty: the name."
    )
    unit = models.CharField(
        max_length=UNIT_LENGTH, blank=True, validators=[validate_single_line], help_text="Such as °C, hPa or ppm."
    )
    decimals = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(DECIMALS_MAX)],
        help_text="How many decimals are shown. Empty: as many as the value needs.",
    )
    order = models.PositiveSmallIntegerField(
        db_column="sort_order",  # the other is a keyword of SQL
        default=ORDER_DEFAULT,
        validators=[MaxValueValidator(ORDER_MAX)],
        help_text="Metrics with a smaller number come first; those with the same number by name.",
    )
    low = models.FloatField(
        "lowest plausible value", null=True, blank=True, validators=finite, help_text="Pages mark values beyond it."
    )
    high = models.FloatField(
        "highest plausible value", null=True, blank=True, validators=finite, help_text="Pages mark values beyond it."
    )

    objects = MetricQuerySet.as_manager()

    class Meta:
        default_permissions = ("view", "change")
        constraints = [
            models.CheckConstraint(
                condition=Q(low=None) | Q(high=None) | Q(low__lt=F("high")),
                name="readings_metric_range",
                violation_error_message="The lowest plausible value must be less than the highest.",
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def description(self) -> Description:
        return Description(self.label, self.unit, self.decimals, self.order, self.low, self.high)


class Rejection(models.Model):
    """Recently refused posts, and values that doors skipped.

    Equal posts share a row; `readings.ingest.refused_posts` limits the number of rows.

    `caller` is the role of the sender, a `readings.ingest.refused_posts.CallerRole`. `device_id` is not a foreign key:
    it is empty if the device is unknown, and may name a device that does not exist. `key_hint` has the first characters
    of an unknown key. `address` is the IP address of the sender.
    """

    id = models.BigAutoField(primary_key=True)
    caller = models.CharField("sent by", max_length=8)
    device_id = models.CharField("device id", max_length=64, blank=True)
    key_hint = models.CharField("key starts with", max_length=16, blank=True)
    address = models.CharField(max_length=45, blank=True)
    status = models.PositiveSmallIntegerField()
    code = models.CharField(max_length=40)
    field = models.CharField(max_length=80, blank=True)
    detail = models.CharField(max_length=300)
    count = models.BigIntegerField("times", default=1)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField(db_index=True)

    objects = RejectionQuerySet.as_manager()

    class Meta:
        verbose_name = "refused post"
        constraints = [
            models.UniqueConstraint(
                fields=["caller", "device_id", "key_hint", "address", "code", "field", "detail"],
                name="readings_rejection_kind",
            )
        ]

    def __str__(self) -> str:
        return f"{self.status} {self.code}"

    @property
    def is_skipped(self) -> bool:
        """Whether this is a value that a door did not store, while the rest of its reading was accepted."""
        return self.code.startswith(SKIPPED_PREFIX)


class MaintenanceRound(models.Model):
    """One round of maintenance. `readings.upkeep.rounds` writes it and keeps only the latest rounds.

    `logs_length` is the number of readings ever stored. `trusted_at` is the time that retention used at the end of the
    round, `held_seconds` for how long the clock has differed from it (None if it does not), and `uptime` the seconds
    since `boot`: see `readings.upkeep.clock`.
    """

    id = models.BigAutoField(primary_key=True)
    finished_at = models.DateTimeField()
    rolled_up = models.BigIntegerField()
    deleted = models.BigIntegerField()
    seconds = models.FloatField()
    logs_length = models.BigIntegerField()
    boot = models.CharField(max_length=64, blank=True, db_default="")
    uptime = models.FloatField(null=True)
    trusted_at = models.DateTimeField(null=True)
    held_seconds = models.FloatField(null=True)

    def __str__(self) -> str:
        return f"{self.finished_at:%Y-%m-%d %H:%M:%S}"

    @property
    def held(self) -> timedelta | None:
        return None if self.held_seconds is None else timedelta(seconds=self.held_seconds)

    @property
    def clock_ahead(self) -> timedelta:
        """How far the clock is ahead of the time that retention uses. Negative: behind. 0: the clock is trusted."""
        if self.held_seconds is None or self.trusted_at is None:
            return timedelta(0)
        return self.finished_at - self.trusted_at
