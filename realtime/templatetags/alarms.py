from django import template

from readings.alarms.models import Alarm

register = template.Library()


@register.simple_tag
def open_alarms() -> int:
    """How many alarms are open. One query."""
    return Alarm.objects.open().count()
