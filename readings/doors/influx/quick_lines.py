"""Decodes many usual lines at once, as two JSON documents: fields and times. It takes a third of the time."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from readings.doors.influx.quick_fields import NEGATIVE_ZERO, Decimal, Whole

fields_decoder = msgspec.json.Decoder(list[dict[str, Whole | Decimal]])
times_decoder = msgspec.json.Decoder(list[int])
INTEGER = re.compile(r"=-?[0-9]+i[,\n]")


class Columns(NamedTuple):
    """The parts of lines, in their order. `series` are still encoded; times are in the unit of the request."""

    series: list[str]
    values: list[dict[str, float]]
    times: list[int]


def quick_lines(lines: Sequence[str]) -> Columns | None:
    """The parts of at least one line; None if the grammar must decide about each line by itself.

    That is so for a line that has not exactly two spaces, such as one without a time, and for all that
    `quick_fields` leaves to the grammar.
    """
    if any(line.count(" ") != 2 for line in lines):
        return None
    text = "\n".join(lines)
    if '"' in text or "\\" in text or "\t" in text or "\r" in text or text.startswith("#") or "\n#" in text:
        return None
    parts = text.replace("\n", " ").split(" ")
    fields = "\n".join(parts[1::3]) + "\n"
    if fields.startswith("=") or ",=" in fields or "\n=" in fields:
        return None
    integers = fields.count("i,") + fields.count("i\n")
    if integers:
        if len(INTEGER.findall(fields)) != integers:
            return None
        fields = fields.replace("i,", ",").replace("i\n", "\n")
    if "=-0" in fields and NEGATIVE_ZERO.search(fields.replace("\n", ",")):
        return None
    document = fields[:-1].replace(",", ',"').replace("=", '":').replace("\n", '},{"')
    try:
        values = fields_decoder.decode(f'[{{"{document}}}]')
        times = times_decoder.decode(f"[{','.join(parts[2::3])}]")
    except msgspec.DecodeError:
        return None
    # A name that occurs twice, which the grammar reports.
    if sum(map(len, values)) != fields.count("=") or not len(times) == len(values) == len(lines):
        return None
    return Columns(parts[0::3], values, times)
