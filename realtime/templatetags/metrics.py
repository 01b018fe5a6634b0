from typing import Any

from django import template

from readings.models import Metric

register = template.Library()


@register.simple_tag
def metric_catalogue() -> dict[str, Any]:
    """The catalogue as the pages' scripts take it. One query."""
    return Metric.objects.catalogue().documents()
