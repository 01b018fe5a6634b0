"""Channels for tests."""

from typing import Any

from readings.alarms.delivery.channels import create_channel
from readings.alarms.models import Channel
from readings.tests.logs import NOON


def channel(**given: Any) -> Channel:
    """The channel there is, or with arguments or without one a new one: a webhook at a port where nobody listens."""
    if not given and (known := Channel.objects.order_by("id").first()):
        return known
    values: dict[str, Any] = {"name": "Desk", "kind": "webhook", "target": "http://127.0.0.1:9/hook", "now": NOON}
    return create_channel(**values | given)
