"""One watched log, with the position up to which it was sent to all who are live."""

from collections.abc import Iterable

from realtime.protocol.seq_ranges import SeqRange, joined
from realtime.stream.subscriptions import Subscription


class Log:
    """What was announced of one device, put in order.

    `position`: everything up to it has been taken. What does not follow on it is a hole, or known.
    `expected`: the log is known to be at least so long. `group`: what its own watchers have joined, "" without any.
    `id`: the device's UUID, another one where a device was erased and registered again; "" where it is not known yet.
    """

    def __init__(self, device_id: str, position: int, status: str | None, log_id: str) -> None:
        self.device_id = device_id
        self.id = log_id
        self.position = self.expected = position
        self.status = status
        self.group = ""
        self.watchers: set[Subscription] = set()
        self.taken: list[SeqRange] = []

    @property
    def has_hole(self) -> bool:
        return self.position < self.expected

    def is_replaced_by(self, log_id: str) -> bool:
        """Whether the device's log is another one, by its id."""
        self.id = self.id or log_id
        return bool(log_id) and log_id != self.id

    def take(self, seq_range: SeqRange) -> bool:
        """Takes what follows on the position; returns whether it did."""
        if seq_range.last_seq <= self.position:
            return False
        self.expected = max(self.expected, seq_range.last_seq)
        if seq_range.first_seq != self.position + 1:
            return False
        self.position = seq_range.last_seq
        self.taken.append(seq_range)
        return True

    def give_back(self) -> None:
        """Drops what was taken and is not handed out: it is missing again, to be read from the database."""
        if self.taken:
            self.position = self.taken[0].first_seq - 1
            self.taken = []

    def flush(self, fleet: Iterable[Subscription]) -> None:
        """Hands out what was taken since the last time, in as few frames as it fits in, each encoded once."""
        if not self.taken:
            return
        seq_ranges, self.taken = joined(self.taken), []
        audience = [*self.watchers, *fleet]
        for seq_range in seq_ranges:
            frame = seq_range.frame()
            for subscription in audience:
                subscription.live(seq_range, frame)
