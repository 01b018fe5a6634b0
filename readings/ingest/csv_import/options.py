"""What the user says about a file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class Options:
    """`device`: the device of all rows. `time`: the column of the times. `renamed`: new names of columns by old ones.

    `ignored`: columns to leave out. `zone`: the zone of times without an offset. `time_format`: the format of the times
    as in `datetime.strptime`. `separator` and `decimal` are detected if empty. `skip_bad`: refuse lines that cannot be
    decoded and go on, instead of ending the import there.
    """

    device: str = ""
    time: str = ""
    renamed: Mapping[str, str] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    zone: ZoneInfo | None = None
    time_format: str = ""
    separator: str = ""
    decimal: str = ""
    encoding: str = "utf-8"
    skip_bad: bool = False
