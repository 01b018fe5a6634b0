"""Where messages about alarms go, and the messages themselves. Imported by `models`, which Django reads."""

from django.db import models
from django.db.models import Q

from devices.models import Device, Tag
from readings.log.ids import uuid7

CHANNEL_NAME_LENGTH = 100
TARGET_LENGTH = 2_000
ERROR_LENGTH = 300


class ChannelKind(models.TextChoices):
    EMAIL = "email", "E-mail"
    WEBHOOK = "webhook", "Webhook"
    APPRISE = "apprise", "Apprise"


class Channel(models.Model):
    """Where messages go. Written only by `readings.alarms.delivery.channels`.

    `target`: an e-mail address, an address of a webhook, or an Apprise URL. The latter two may contain tokens: show
    `target_hint` instead. `secret`: signs the messages of a webhook; shown once.
    """

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=CHANNEL_NAME_LENGTH)
    kind = models.CharField(max_length=10, choices=ChannelKind.choices)
    target = models.CharField(max_length=TARGET_LENGTH)
    target_hint = models.CharField(max_length=400)
    secret = models.CharField(max_length=100, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name


class RuleChannel(models.Model):
    """A channel that gets the messages of a rule."""

    pk = models.CompositePrimaryKey("rule_id", "channel_id")
    rule = models.ForeignKey("alarms.Rule", on_delete=models.CASCADE, related_name="+", db_index=False)
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="+")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.rule_id} {self.channel_id}"


class DeviceMute(models.Model):
    """Until then, alarms about the device are recorded and nothing is sent."""

    device = models.OneToOneField(
        Device,
        to_field="device_id",
        primary_key=True,
        on_delete=models.CASCADE,
        related_name="+",
        db_column="device_id",
    )
    until = models.DateTimeField()

    class Meta:
        default_permissions = ()
        verbose_name, verbose_name_plural = "muted device", "muted devices"

    def __str__(self) -> str:
        return f"{self.device_id} until {self.until}"


class TagMute(models.Model):
    """Until then, alarms about the devices that have the tag are recorded and nothing is sent."""

    tag = models.OneToOneField(Tag, primary_key=True, on_delete=models.CASCADE, related_name="+")
    until = models.DateTimeField()

    class Meta:
        default_permissions = ()
        verbose_name, verbose_name_plural = "muted tag", "muted tags"

    def __str__(self) -> str:
        return f"{self.tag_id} until {self.until}"


class MessageType(models.TextChoices):
    OPENED = "alarm.opened", "Opened"
    RESOLVED = "alarm.resolved", "Resolved"
    REPEATED = "alarm.repeated", "Repeated"


class Message(models.Model):
    """One message of a rule about some of its alarms. `id` is its `webhook-id` on every channel and every try.

    It gathers alarms until `release_at`. Then it gets a `Delivery` for each channel of the rule, and `released_at`,
    and does not change any more. `first`: it gathers one evaluation, and is released at its end. `count`: of its
    alarms when it was released.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    rule = models.ForeignKey("alarms.Rule", on_delete=models.CASCADE, related_name="+", db_index=False)
    type = models.CharField(max_length=20, choices=MessageType.choices)
    created_at = models.DateTimeField()
    release_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True)
    first = models.BooleanField()
    count = models.PositiveIntegerField(default=0)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["rule", "type"], condition=Q(released_at=None), name="alarms_one_gathering")
        ]
        indexes = [models.Index(fields=["rule", "type", "release_at"], name="alarms_messages_of_rule")]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class MessageAlarm(models.Model):
    """An alarm that a message is about. Deleted when the message has been delivered or given up on every channel."""

    pk = models.CompositePrimaryKey("message_id", "alarm_id")
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="+", db_index=False)
    alarm = models.ForeignKey("alarms.Alarm", on_delete=models.CASCADE, related_name="+")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.message_id} {self.alarm_id}"


class DeliveryState(models.TextChoices):
    """DROPPED: nobody wants it any more, because its rule was switched off or its alarms were erased."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"
    DROPPED = "dropped"


class Delivery(models.Model):
    """A message on its way to a channel. In the order of `id`, the deliveries about an alarm follow each other.

    `blocked_by`: the `id` of an earlier delivery about one of its alarms, which may still be waiting or may be gone.
    `away`: the last try got no answer, so that the next success on the channel is a reason to try again at once.
    """

    id = models.BigAutoField(primary_key=True)
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="+", db_index=False)
    state = models.CharField(max_length=10, choices=DeliveryState.choices, default=DeliveryState.WAITING)
    tries = models.PositiveIntegerField(default=0)
    first_try_at = models.DateTimeField(null=True)
    next_try_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    blocked_by = models.BigIntegerField(null=True)
    away = models.BooleanField(default=False)
    error = models.CharField("last error", max_length=ERROR_LENGTH, blank=True)

    class Meta:
        verbose_name, verbose_name_plural = "message", "messages"
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["message", "channel"], name="alarms_one_delivery")]
        indexes = [
            models.Index(fields=["channel", "id"], condition=Q(state="waiting"), name="alarms_waiting"),
            models.Index(fields=["state", "id"], name="alarms_deliveries_by_state"),
        ]

    def __str__(self) -> str:
        return f"{self.message_id} to {self.channel_id}"


class DeliveryRound(models.Model):
    """One row: when a process last looked for messages to send."""

    at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.at)
