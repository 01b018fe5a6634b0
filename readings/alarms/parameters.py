"""The parameters of each kind of rule: which it needs and which it may have, and what contradicts itself."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from readings.alarms.conditions.rate import Rate
from readings.alarms.conditions.silence import Silence
from readings.alarms.conditions.stuck import Stuck
from readings.alarms.conditions.threshold import Threshold
from readings.alarms.models import Kind, Rule

Condition = Threshold | Stuck | Rate | Silence

# The names in the API, and of the model's fields: `for` is a keyword of Python.
PARAMETER_NAMES = {
    "metric": "metric",
    "above": "above",
    "below": "below",
    "for": "for_seconds",
    "clear_margin": "clear_margin",
    "clear_for": "clear_for",
    "seconds": "seconds",
    "tolerance": "tolerance",
    "change": "change",
    "per": "per",
}


class Parameters(NamedTuple):
    """API names. `optional` has the value that counts if the parameter is absent."""

    required: tuple[str, ...]
    optional: dict[str, Any]


OF_KIND: dict[str, Parameters] = {
    Kind.THRESHOLD: Parameters(
        ("metric",), {"above": None, "below": None, "for": 0, "clear_margin": 0.0, "clear_for": 0}
    ),
    Kind.SILENCE: Parameters((), {"seconds": None, "metric": None}),
    Kind.STUCK: Parameters(("metric", "seconds"), {"tolerance": 0.0}),
    Kind.RATE: Parameters(("metric", "change", "per"), {"clear_for": 0}),
}


class Contradiction(NamedTuple):
    """`field`: a name of the API."""

    field: str
    code: str
    detail: str


def contradictions(kind: str, given: Mapping[str, Any]) -> list[Contradiction]:
    """What is wrong with these parameters, by API name; absent ones are null."""
    of_kind = OF_KIND[kind]
    found = [
        Contradiction(name, "parameter_of_another_kind", f"A rule of the kind {kind} has no {name!r}.")
        for name in PARAMETER_NAMES
        if given.get(name) is not None and name not in of_kind.required and name not in of_kind.optional
    ]
    found += [
        Contradiction(name, "parameter_missing", f"A rule of the kind {kind} needs {name!r}.")
        for name in of_kind.required
        if given.get(name) is None
    ]
    if kind == Kind.THRESHOLD:
        found += wrong_bounds(given.get("above"), given.get("below"), given.get("clear_margin") or 0.0)
    return found


def wrong_bounds(above: float | None, below: float | None, margin: float) -> list[Contradiction]:
    if above is None and below is None:
        return [Contradiction("above", "no_bound", "A threshold needs 'above', 'below' or both.")]
    if above is None or below is None:
        return []
    if above <= below:
        detail = "'above' must be greater than 'below': every value would be outside."
        return [Contradiction("above", "bounds_crossed", detail)]
    if above - margin < below + margin:
        detail = "No value is within both bounds by this margin, so an alarm would never be resolved."
        return [Contradiction("clear_margin", "margin_too_large", detail)]
    return []


def complete(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The model's fields for these parameters: defaults filled in, null for those of other kinds."""
    of_kind = OF_KIND[kind]
    values = dict.fromkeys(PARAMETER_NAMES) | of_kind.optional
    values |= {name: value for name, value in given.items() if name in PARAMETER_NAMES and value is not None}
    fields = {PARAMETER_NAMES[name]: value for name, value in values.items()}
    return fields | {"metric": fields["metric"] or ""}


def condition_of(rule: Rule) -> Condition:
    metric = rule.metric
    match rule.kind:
        case Kind.THRESHOLD:
            return Threshold(
                metric=metric,
                above=rule.above,
                below=rule.below,
                for_seconds=rule.for_seconds or 0,
                clear_margin=rule.clear_margin or 0,
                clear_for=rule.clear_for or 0,
            )
        case Kind.STUCK:
            assert rule.seconds is not None
            return Stuck(metric=metric, seconds=rule.seconds, tolerance=rule.tolerance or 0)
        case Kind.RATE:
            assert rule.change is not None
            assert rule.per is not None
            return Rate(metric=metric, change=rule.change, per=rule.per, clear_for=rule.clear_for or 0)
    return Silence(seconds=rule.seconds, metric=metric or None)
