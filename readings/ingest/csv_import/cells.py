"""Reads the cells of metrics."""

from devices.metrics import LARGEST_VALUE
from readings.ingest.payloads import NUMERIC, InvalidReading, metric_value, whole

# A cell with one of these, in any letter case, has no value.
ABSENT = frozenset({"", "na", "n/a", "nan", "null", "none", "unavailable", "unknown", "-"})


def is_absent(text: str) -> bool:
    return text.casefold() in ABSENT


def number(name: str, text: str, *, decimal: str) -> float | None:
    """The value of a metric's cell without spaces around it; None if it is absent. Raises InvalidReading."""
    if decimal == ",":
        if "." in text:
            detail = "The value has a point, but the decimal separator of the file is a comma (--decimal)."
            raise InvalidReading(name, "not_a_number", detail)
        text = text.replace(",", ".")
    if NUMERIC.fullmatch(text) and -LARGEST_VALUE <= (value := float(text)) <= LARGEST_VALUE:
        # The most frequent case. -0.0 + 0.0 is 0.0, as at the ingest endpoints.
        return whole(int(value)) if text.lstrip("+-").isdecimal() else value + 0.0
    if text.casefold() in ABSENT:
        return None
    if "," in text and NUMERIC.fullmatch(text.replace(",", ".")):
        detail = "The value has a comma. If this is the decimal separator, add --decimal , to the command."
        raise InvalidReading(name, "not_a_number", detail)
    return metric_value(name, text)
