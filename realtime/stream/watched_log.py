"""A watched log, with the position up to which its live sockets have it."""

from collections.abc import Iterable

from realtime.protocol.frames import End
from realtime.protocol.seq_ranges import SeqRange, joined
from realtime.stream.subscriptions import Subscription


class Log:
    """The announced readings of one device, in order.

    `position`: every reading up to it was taken; a range that begins later than `position` + 1 shows a gap.
    `expected`: the log is known to have at least this length. `group`: the channel-layer group of its own watchers,
    "" if there are none. `id`: the device's UUID, which changes if the device is erased and registered again; "" if
    unknown. `status` and `last_seen_at` are what its live sockets were told last; `last_seen_at` is a text of
    `frames.moment`.
    """

    def __init__(
        self, device_id: str, position: int, status: str | None, last_seen_at: str | None, log_id: str
    ) -> None:
        self.device_id = device_id
        self.id = log_id
        self.position = self.expected = position
        self.status = status
        self.last_seen_at = last_seen_at
        self.group = ""
        self.watchers: set[Subscription] = set()
        self.taken: list[SeqRange] = []

    @property
    def has_hole(self) -> bool:
        return self.position < self.expected

    def is_replaced_by(self, log_id: str) -> bool:
        """Whether the device now has another log than this one, by its id; "" counts as unknown."""
        self.id = self.id or log_id
        return bool(log_id) and log_id != self.id

    def end(self) -> End:
        return End(self.device_id, self.position, self.status, self.last_seen_at, self.id)

    def take(self, seq_range: SeqRange) -> bool:
        """Takes the range if it begins at `position` + 1; returns whether it did."""
        if seq_range.last_seq <= self.position:
            return False
        self.expected = max(self.expected, seq_range.last_seq)
        if seq_range.first_seq != self.position + 1:
            return False
        self.position = seq_range.last_seq
        self.taken.append(seq_range)
        return True

    def give_back(self) -> None:
        """Drops the ranges that were taken but not sent: they count as missing, to be read from the database."""
        if self.taken:
            self.position = self.taken[0].first_seq - 1
            self.taken = []

    def flush(self, fleet: Iterable[Subscription]) -> None:
        """Sends the ranges taken since the last flush, in as few frames as possible, each encoded once."""
        if not self.taken:
            return
        seq_ranges, self.taken = joined(self.taken), []
        audience = [*self.watchers, *fleet]
        for seq_range in seq_ranges:
            frame = seq_range.frame()
            self.last_seen_at = seq_range.last_seen_at or self.last_seen_at
            for subscription in audience:
                subscription.live(seq_range, frame)
