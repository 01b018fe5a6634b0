"""Channels for tests."""

from typing import Any

from readings.alarms.delivery.channels import create_channel
from readings.alarms.models import Channel, Delivery, Message
from readings.alarms.tests.rules import make_rule
from readings.tests.logs import NOON


def channel(**given: Any) -> Channel:
    """The channel there is, or with arguments or without one a new one: a webhook at a port where nobody listens."""
    if not given and (known := Channel.objects.order_by("id").first()):
        return known
    values: dict[str, Any] = {"name": "Desk", "kind": "webhook", "target": "http://127.0.0.1:9/hook", "now": NOON}
    return create_channel(**values | given)


def delivery(**given: Any) -> Delivery:
    """A delivery to `channel()`, of a message about no alarms."""
    times = dict.fromkeys(("created_at", "release_at", "released_at"), NOON)
    rule = make_rule(metric="temperature", above=30)
    message = Message.objects.create(rule=rule, type="alarm.opened", first=False, **times)
    return Delivery.objects.create(message=message, **{"channel": channel(), "next_try_at": NOON} | given)
