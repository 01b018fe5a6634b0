"""Template filters for readable numbers: 20,140,000 and 3.4 GB."""

from django import template

register = template.Library()

UNITS = ("B", "kB", "MB", "GB", "TB")


@register.filter
def thousands(number: float) -> str:
    """A whole number with commas; one decimal for fractions below 10."""
    return f"{number:,.1f}" if 0 < number < 10 and number != int(number) else f"{number:,.0f}"


@register.filter
def bytes(count: int) -> str:
    """A size in the largest decimal unit (1 kB = 1000 B) in which it is at least 1; one decimal below 10."""
    size = float(count)
    for unit in UNITS:
        if size < 1000 or unit == UNITS[-1]:
            return f"{size:.1f} {unit}" if size < 10 and unit != "B" else f"{size:.0f} {unit}"
        size /= 1000
    raise AssertionError("unreachable")
