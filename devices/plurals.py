"""Numbers with their noun, for texts that are not templates."""

from django.utils.translation import ngettext


def counted(number: int, one: str, many: str) -> str:
    """`1 reading`, `0 readings`, `2,000 readings`: the number with the form of the noun that goes with it."""
    return f"{number:,} {ngettext(one, many, number)}"
