"""The widths of rollups: hours for every device, minutes for devices that report often."""

from datetime import timedelta

import msgspec


class Tier(msgspec.Struct, frozen=True):
    """Rollups of one width. `position`: column of DeviceState with the last `seq` that is in these rollups."""

    seconds: int
    position: str
    unit: str

    @property
    def width(self) -> timedelta:
        return timedelta(seconds=self.seconds)


HOURS = Tier(3600, "rolled_up_seq", "hour")
MINUTES = Tier(60, "rolled_up_minutes_seq", "minute")
