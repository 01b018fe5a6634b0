from typing import Any

from django import template

from devices.access.callers import viewer_of
from readings.alarms.models import Alarm

register = template.Library()


@register.simple_tag(takes_context=True)
def open_alarms(context: dict[str, Any]) -> int:
    """How many alarms are open, of the devices that the account may see. One query."""
    return Alarm.objects.open().visible_to(viewer_of(context["user"])).count()
