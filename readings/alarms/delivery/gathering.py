"""Writes messages about alarms, in the transaction that opens or resolves them, and gathers many alarms into one.

What one evaluation opens of a rule is one message, which is released at its end. What the rule opens in the GATHER
after that is gathered into one more, and so on: a rule sends at most one message of a type in GATHER. An alarm that is
resolved before the message that it opened was released moves into the message of resolved alarms.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db.models import F

from readings.alarms.delivery.muting import muted_devices
from readings.alarms.delivery.wakeup import wake
from readings.alarms.models import Alarm, Message, MessageAlarm, MessageType, RuleChannel
from readings.alarms.signals import Happening

GATHER = timedelta(seconds=10)
# If an evaluation is killed before its end, its messages are released after this time.
HOLD = timedelta(seconds=10)

Happened = tuple[Happening, Alarm]
# A rule and a type of message.
Series = tuple[int, str]


class Notices:
    """What has to be said about these changes of alarms, in the order in which they happened.

    Sets `told_at` and `held` of alarms that are opened, so that it is made before they are stored, and `write` is
    called after, in the same transaction. `in_evaluation`: `end_evaluation` will be called.
    """

    def __init__(self, happened: Sequence[Happened], *, now: datetime, in_evaluation: bool) -> None:
        self.now, self.in_evaluation = now, in_evaluation
        self.series: dict[Series, list[Alarm]] = {}
        self.held: list[Alarm] = []
        if happened:
            self.sort(happened)

    def sort(self, happened: Sequence[Happened]) -> None:
        rules = RuleChannel.objects.filter(rule_id__in={alarm.rule_id for _, alarm in happened})
        # Rules without a channel have nothing to say.
        muted_until: dict[int, datetime | None] = dict(rules.values_list("rule_id", "rule__muted_until").distinct())
        heard = [(event, alarm) for event, alarm in happened if alarm.rule_id in muted_until]
        devices = muted_devices({alarm.device_id for _, alarm in heard}, now=self.now) if heard else set()
        for event, alarm in heard:
            until = muted_until[alarm.rule_id]
            muted = alarm.device_id in devices or (until is not None and until > self.now)
            if event == "opened":
                self.opened(alarm, muted=muted)
            elif event == "resolved":
                self.resolved(alarm, muted=muted)

    def opened(self, alarm: Alarm, *, muted: bool) -> None:
        alarm.held = muted
        if not muted:
            alarm.told_at = self.now
            self.series.setdefault((alarm.rule_id, MessageType.OPENED), []).append(alarm)

    def resolved(self, alarm: Alarm, *, muted: bool) -> None:
        opened = self.series.get((alarm.rule_id, MessageType.OPENED), [])
        if alarm.told_at is None:
            # Nobody knows of it. If a mute held it back, `releasing.end_mutes` forgets it.
            return
        if alarm in opened:
            opened.remove(alarm)
        elif muted:
            self.held.append(alarm)
            return
        self.series.setdefault((alarm.rule_id, MessageType.RESOLVED), []).append(alarm)

    def write(self) -> None:
        """Writes the messages. Alarms of the notices must be stored."""
        if self.held:
            Alarm.objects.filter(pk__in=[alarm.pk for alarm in self.held]).update(held=True)
        series = {key: alarms for key, alarms in self.series.items() if alarms}
        if not series:
            return
        locked = Message.objects.select_for_update().filter(rule_id__in={rule_id for rule_id, _ in series})
        gathering = {(message.rule_id, message.type): message for message in locked.filter(released_at=None)}
        for (rule_id, kind), alarms in series.items():
            if kind == MessageType.RESOLVED and (opened := gathering.get((rule_id, MessageType.OPENED))):
                withdraw(opened, alarms)
        for (rule_id, kind), alarms in series.items():
            message = gathering.get((rule_id, kind)) or self.begin(rule_id, kind)
            MessageAlarm.objects.bulk_create(
                [MessageAlarm(message=message, alarm=alarm) for alarm in alarms], batch_size=500
            )

    def begin(self, rule_id: int, kind: str) -> Message:
        now = self.now
        latest = Message.objects.filter(rule_id=rule_id, type=kind).order_by("-release_at")
        before: datetime | None = latest.values_list("release_at", flat=True).first()
        # A time in the future was set by a clock that was wrong.
        follows = before is not None and now - GATHER < before <= now + GATHER
        first = self.in_evaluation and not follows
        release_at = before + GATHER if before is not None and follows else now + HOLD if first else now
        return Message.objects.create(rule_id=rule_id, type=kind, created_at=now, release_at=release_at, first=first)


def withdraw(message: Message, alarms: Sequence[Alarm]) -> None:
    """Takes alarms out of a message that was not released."""
    MessageAlarm.objects.filter(message=message, alarm_id__in=[alarm.pk for alarm in alarms]).delete()
    if not MessageAlarm.objects.filter(message=message).exists():
        message.delete()


def end_evaluation() -> None:
    """Releases what evaluations have begun. To be called after the last transaction of one that changed alarms."""
    Message.objects.filter(first=True, released_at=None).update(release_at=F("created_at"))
    wake()
