from datetime import datetime

from django.db import models
from django.db.models import Q

from devices.models import Device, Tag
from readings.alarms.outbox_models import (
    Channel,
    ChannelKind,
    Delivery,
    DeliveryRound,
    DeliveryState,
    DeviceMute,
    Message,
    MessageAlarm,
    MessageType,
    RuleChannel,
    TagMute,
)
from readings.alarms.querysets import AlarmQuerySet, RuleQuerySet
from readings.log.ids import uuid7

__all__ = [
    "Alarm",
    "Channel",
    "ChannelKind",
    "Delivery",
    "DeliveryRound",
    "DeliveryState",
    "DeviceMute",
    "EvaluationState",
    "Kind",
    "Message",
    "MessageAlarm",
    "MessageType",
    "Reason",
    "Reception",
    "Rule",
    "RuleChannel",
    "RuleDevice",
    "RuleSet",
    "RuleTag",
    "Severity",
    "TagMute",
]

NAME_LENGTH = 100
TEXT_LENGTH = 2_000
COMMENT_LENGTH = 1_000


class Kind(models.TextChoices):
    THRESHOLD = "threshold"
    SILENCE = "silence"
    STUCK = "stuck"
    RATE = "rate"


class Severity(models.TextChoices):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Reason(models.TextChoices):
    """Why an alarm was resolved. CLEARED: its condition ended; the others: it is no longer judged."""

    CLEARED = "cleared"
    RULE_CHANGED = "rule_changed"
    RULE_OFF = "rule_off"
    RULE_DELETED = "rule_deleted"
    DEVICE_DEACTIVATED = "device_deactivated"


class Rule(models.Model):
    """A rule, with the fields that people edit. Written only by `readings.alarms.rules.changing`.

    The parameters that its kind does not have are null (`readings.alarms.parameters`); times are in seconds. `repeat`:
    after how many seconds an open alarm is sent again until somebody acknowledges it; null: never. Until `muted_until`,
    its alarms are recorded and nothing is sent.
    `judged_since`: when it began to judge in its present form. `deleted_at`: a deleted rule stays until its last alarm
    has expired, because its alarms name it.
    """

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=NAME_LENGTH)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    severity = models.CharField(max_length=10, choices=Severity.choices, default=Severity.WARNING)
    metric = models.CharField(max_length=63, blank=True)
    above = models.FloatField(null=True)
    below = models.FloatField(null=True)
    for_seconds = models.PositiveIntegerField("for", null=True)
    clear_margin = models.FloatField(null=True)
    clear_for = models.PositiveIntegerField(null=True)
    seconds = models.PositiveIntegerField(null=True)
    tolerance = models.FloatField(null=True)
    change = models.FloatField(null=True)
    per = models.PositiveIntegerField(null=True)
    text = models.CharField("what to do", max_length=TEXT_LENGTH, blank=True)
    for_all_devices = models.BooleanField(default=True)
    devices = models.ManyToManyField(Device, through="RuleDevice", related_name="+")
    tags = models.ManyToManyField(Tag, through="RuleTag", related_name="+")
    channels = models.ManyToManyField(Channel, through="RuleChannel", related_name="+")
    repeat = models.PositiveIntegerField(null=True)
    muted_until = models.DateTimeField(null=True)
    is_active = models.BooleanField("active", default=True)
    judged_since = models.DateTimeField()
    created_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)

    objects = RuleQuerySet.as_manager()

    class Meta:
        default_permissions = ("view",)
        permissions = [("manage_rules", "Can create, change and delete rules, and preview them")]

    def __str__(self) -> str:
        return self.name


class RuleDevice(models.Model):
    """A device that a rule applies to: it names the device, or the device has all of its tags.

    Rules with `for_all_devices` have none. `since`: when the device got the last of the tags; null: since the rule is
    as it is. Kept in step with the tags of devices by `readings.alarms.rules.retagging`.
    """

    pk = models.CompositePrimaryKey("rule_id", "device_id")
    rule = models.ForeignKey(Rule, on_delete=models.CASCADE, related_name="+", db_index=False)
    device = models.ForeignKey(
        Device, to_field="device_id", on_delete=models.PROTECT, related_name="+", db_column="device_id"
    )
    since = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.rule_id} {self.device_id}"


class RuleTag(models.Model):
    """A tag that a rule names. The rule applies to the devices that have all of its tags."""

    pk = models.CompositePrimaryKey("rule_id", "tag_id")
    rule = models.ForeignKey(Rule, on_delete=models.CASCADE, related_name="+", db_index=False)
    tag = models.ForeignKey(Tag, on_delete=models.PROTECT, related_name="+")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.rule_id} {self.tag_id}"


class RuleSet(models.Model):
    """One row: `version` counts the changes of rules.

    A change of a rule and a step of the evaluation lock it, so that each step stores what the rules of one version say
    (`readings.alarms.rules`).
    """

    version = models.BigIntegerField(default=0)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.version)


class Reception(models.Model):
    """One row: when some process could receive readings. Written by `readings.alarms.upkeep.heartbeat`.

    `until`: the latest heartbeat of any process. `since`: the first one after the last gap.
    """

    since = models.DateTimeField()
    until = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.since} - {self.until}"


class EvaluationState(models.Model):
    """What a rule knows of a device between two steps; no row: nothing.

    `state`: a `conditions.states.State` as JSON. `after_seq`: the rule judges only readings after it. `heard_at`: when
    the metric of a `silence` was last read, by the clock of the evaluation.
    """

    pk = models.CompositePrimaryKey("rule_id", "device_id")
    rule = models.ForeignKey(Rule, on_delete=models.CASCADE, related_name="+", db_index=False)
    device = models.ForeignKey(
        Device, to_field="device_id", on_delete=models.PROTECT, related_name="+", db_column="device_id"
    )
    after_seq = models.BigIntegerField(default=0)
    state = models.TextField(default="{}")
    heard_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.rule_id} {self.device_id}"


class Alarm(models.Model):
    """One alarm of a rule about a device. It stays when retention deletes the readings.

    Of a `silence`, `began_at`, `opened_at` and `resolved_at` are times of receipt; of other kinds they are times of
    measurement, except that an alarm which is resolved for another reason than CLEARED ends by the server's clock.
    `noticed_at` is by the server's clock. `late`: it was noticed more than LATE_AFTER after it opened. `told_at`: when
    the latest message that it is open was written; null: none was. `held`: a mute held back a message that it opened
    (`told_at` is null) or was resolved, which is written when the mute ends.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    rule = models.ForeignKey(Rule, on_delete=models.PROTECT, related_name="+")
    device = models.ForeignKey(
        Device, to_field="device_id", on_delete=models.PROTECT, related_name="+", db_column="device_id", db_index=False
    )
    metric = models.CharField(max_length=63, blank=True)
    began_at = models.DateTimeField()
    opened_at = models.DateTimeField()
    noticed_at = models.DateTimeField()
    value = models.FloatField(null=True)
    worst = models.FloatField(null=True)
    resolved_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=20, choices=Reason.choices, blank=True)
    late = models.BooleanField()
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=150, blank=True)
    comment = models.CharField(max_length=COMMENT_LENGTH, blank=True)
    told_at = models.DateTimeField(null=True)
    held = models.BooleanField(default=False, db_default=False)

    objects = AlarmQuerySet.as_manager()

    class Meta:
        default_permissions = ("view",)
        permissions = [("acknowledge_alarm", "Can acknowledge alarms")]
        constraints = [
            models.UniqueConstraint(fields=["rule", "device"], condition=Q(resolved_at=None), name="alarms_one_open")
        ]
        indexes = [
            models.Index(fields=["opened_at", "id"], name="alarms_by_time"),
            models.Index(fields=["opened_at", "id"], condition=Q(resolved_at=None), name="alarms_open_by_time"),
            models.Index(fields=["device", "opened_at", "id"], name="alarms_of_device"),
            models.Index(fields=["resolved_at"], name="alarms_by_end"),
            models.Index(fields=["rule"], condition=Q(held=True), name="alarms_held"),
        ]

    def __str__(self) -> str:
        return f"{self.device_id} {self.opened_at:%Y-%m-%d %H:%M}"

    @property
    def is_open(self) -> bool:
        return self.resolved_at is None

    def resolve(self, at: datetime, reason: Reason) -> None:
        """In memory only."""
        self.resolved_at, self.reason = at, reason
