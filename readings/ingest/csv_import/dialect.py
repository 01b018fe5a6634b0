"""Finds out which separators a CSV file has, from its first lines."""

import csv
import re
from collections.abc import Iterable, Sequence

# If a file could be read with several of these, the first is chosen, because commas are also decimal commas.
SEPARATORS = ("\t", ";", "|", ",")
DECIMAL_COMMA = re.compile(r"[+-]?\d*,(\d+)", re.ASCII)
DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?", re.ASCII)


def detect_separator(sample: Sequence[str]) -> str:
    """The separator with which most of these lines have as many cells as the header; a comma if there is none."""

    def fitting(separator: str) -> tuple[int, int]:
        rows = cells_of(sample, separator)
        width = len(rows[0]) if rows else 0
        return (sum(len(row) == width for row in rows), width) if width > 1 else (0, 0)

    found = max(SEPARATORS, key=fitting)
    return found if fitting(found)[0] else ","


def detect_decimal(cells: Iterable[str]) -> str:
    """The decimal separator of these cells of numbers: a comma only if no cell has a decimal point.

    `1,234` alone is not enough for a comma, because it can also mean 1234.
    """
    comma = False
    for cell in cells:
        if DECIMAL_POINT.fullmatch(cell):
            return "."
        if match := DECIMAL_COMMA.fullmatch(cell):
            comma = comma or len(match[1]) != 3
    return "," if comma else "."


def cells_of(sample: Sequence[str], separator: str) -> list[list[str]]:
    """The rows of these lines that are not empty, as far as they are CSV."""
    rows = []
    try:
        for cells in csv.reader(sample, delimiter=separator):
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                rows.append(stripped)
    except csv.Error:
        pass  # The rows before it are enough; the import reports this one by its line.
    return rows
