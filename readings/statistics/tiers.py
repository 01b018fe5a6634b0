"""The widths of rollups: hours for every device, minutes for devices that report often."""

from datetime import timedelta

import msgspec

# Old rollups of one metric are sealed in blocks of up to this many: ten days of hours, four hours of minutes. A block
# then has about one kilobyte, which PostgreSQL stores within the row, and few rows wait until a block is complete.
BLOCK_ROLLUPS = 240


class Tier(msgspec.Struct, frozen=True):
    """Rollups of one width. `position`: column of DeviceState with the last `seq` that is in these rollups."""

    seconds: int
    position: str
    unit: str

    @property
    def width(self) -> timedelta:
        return timedelta(seconds=self.seconds)

    @property
    def block(self) -> timedelta:
        """The time of the rollups that are sealed together. Blocks are aligned to 1970."""
        return self.width * BLOCK_ROLLUPS


HOURS = Tier(3600, "rolled_up_seq", "hour")
MINUTES = Tier(60, "rolled_up_minutes_seq", "minute")
