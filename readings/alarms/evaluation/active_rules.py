"""The active rules as the evaluation keeps them in memory. They are loaded again only if their version has changed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property

from readings.alarms.conditions import threshold
from readings.alarms.conditions.silence import Silence
from readings.alarms.conditions.states import IDLE
from readings.alarms.conditions.threshold import Threshold
from readings.alarms.models import Rule, RuleDevice, RuleSet
from readings.alarms.parameters import Condition, condition_of


class ActiveRule:
    """A rule with its condition. `device_ids` None: it applies to all devices.

    `since`: when it began to apply to a device, if that is later than the rule's own `judged_since`.
    """

    def __init__(self, rule: Rule, since: Mapping[str, datetime | None] | None) -> None:
        self.rule = rule
        # Django's attributes take ten times as long, and these are read for each reading.
        self.pk, self.metric = rule.pk, rule.metric
        self.condition: Condition = condition_of(rule)
        # The values that change nothing if the rule knows nothing of the device; None: any value does.
        self.calm = threshold.calm(self.condition, IDLE) if isinstance(self.condition, Threshold) else None
        self.device_ids = None if since is None else frozenset(since)
        self.since = {device_id: moment for device_id, moment in (since or {}).items() if moment is not None}

    def judged_since(self, device_id: str) -> datetime:
        """When the rule in its present form began to judge this device."""
        return max(self.rule.judged_since, self.since.get(device_id, self.rule.judged_since))

    @property
    def judges_readings(self) -> bool:
        """False for a silence of every metric, which needs only the times of receipt."""
        return bool(self.rule.metric)

    def is_idle_within(self, low: float, high: float) -> bool:
        """Whether values in this range change nothing if the rule knows nothing of the device."""
        return self.calm is not None and high <= self.calm.high and low >= self.calm.low


class ActiveRules:
    def __init__(self, version: int, rules: Sequence[ActiveRule]) -> None:
        self.version = version
        self.rules = rules

    @cached_property
    def of_readings(self) -> list[ActiveRule]:
        return [active for active in self.rules if active.judges_readings]

    @cached_property
    def silences(self) -> list[ActiveRule]:
        return [active for active in self.rules if isinstance(active.condition, Silence)]

    @cached_property
    def metrics(self) -> frozenset[str]:
        """The metrics that rules judge."""
        return frozenset(active.rule.metric for active in self.of_readings)

    @cached_property
    def watched(self) -> frozenset[str] | None:
        """The devices whose readings are judged; None: all."""
        named: set[str] = set()
        for active in self.of_readings:
            if active.device_ids is None:
                return None
            named |= active.device_ids
        return frozenset(named)

    def need_no_more_than(self, others: "ActiveRules") -> bool:
        """Whether they judge readings, and no metric and no device that the others do not judge."""
        if not self.of_readings or not self.metrics <= others.metrics:
            return False
        return others.watched is None or (self.watched is not None and self.watched <= others.watched)

    @cached_property
    def of_all(self) -> list[ActiveRule]:
        """The rules that judge readings of all devices."""
        return [active for active in self.of_readings if active.device_ids is None]

    @cached_property
    def naming(self) -> dict[str, list[ActiveRule]]:
        """The rules that judge readings of devices which they name, by device id."""
        found: dict[str, list[ActiveRule]] = {}
        for active in self.of_readings:
            for device_id in active.device_ids or ():
                found.setdefault(device_id, []).append(active)
        return found

    @cached_property
    def by_pk(self) -> dict[int, ActiveRule]:
        """The rules that judge readings, by their ids."""
        return {active.pk: active for active in self.of_readings}

    @cached_property
    def of_all_by_metric(self) -> dict[str, list[ActiveRule]]:
        return by_metric(self.of_all)

    @cached_property
    def naming_by_metric(self) -> dict[str, dict[str, list[ActiveRule]]]:
        """For the devices that rules name: the rules that judge readings of the device, by metric."""
        return {device_id: by_metric(self.of_device(device_id)) for device_id in self.naming}

    def judging(self, device_id: str, metric: str) -> Sequence[ActiveRule]:
        """The rules that judge this metric of this device."""
        return self.naming_by_metric.get(device_id, self.of_all_by_metric).get(metric, ())

    def of_device(self, device_id: str) -> list[ActiveRule]:
        """The rules that judge readings of this device."""
        named = self.naming.get(device_id)
        return self.of_all if named is None else self.of_all + named


def by_metric(rules: Sequence[ActiveRule]) -> dict[str, list[ActiveRule]]:
    found: dict[str, list[ActiveRule]] = {}
    for active in rules:
        found.setdefault(active.metric, []).append(active)
    return found


def current_version() -> int:
    """The version of the rules; 0 before the first change."""
    version: int | None = RuleSet.objects.values_list("version", flat=True).first()
    return version or 0


def load_rules() -> ActiveRules:
    """The active rules. The version is read first, so that a change meanwhile makes the next step fail."""
    version = current_version()
    named: dict[int, dict[str, datetime | None]] = {}
    of_active = RuleDevice.objects.filter(rule__is_active=True)
    for rule_id, device_id, since in of_active.values_list("rule_id", "device_id", "since"):
        named.setdefault(rule_id, {})[str(device_id)] = since
    rules = Rule.objects.active().order_by("id")
    return ActiveRules(
        version,
        [ActiveRule(rule, None if rule.for_all_devices else named.get(rule.pk, {})) for rule in rules],
    )


def watched_devices() -> frozenset[str] | None:
    """The devices whose readings are judged; None: all."""
    return load_rules().watched
