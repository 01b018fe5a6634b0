"""Ranges of a device's log: what is announced, what is read from the database, what a frame carries."""

from collections.abc import Iterable

import msgspec

from readings.log.entries import ReadingLike
from realtime.protocol import frames


class SeqRange(msgspec.Struct, frozen=True, gc=False):
    """The readings `first_seq` to `last_seq` of one device, encoded (`frames.documents`).

    Without documents: readings that were deleted, as by retention.
    """

    device_id: str
    first_seq: int
    last_seq: int
    documents: str

    def __len__(self) -> int:
        """How many readings."""
        return self.last_seq - self.first_seq + 1

    def frame(self) -> str:
        if not self.documents:
            return frames.deleted(self.device_id, self.first_seq, self.last_seq)
        return frames.readings(self.device_id, self.documents)


def encoded(device_id: str, entries: list[ReadingLike]) -> list[SeqRange]:
    """These consecutive readings, at least one, in ranges that fit into a frame each."""
    documents = frames.documents(entries)
    if len(entries) > 1 and (len(entries) > frames.READINGS_PER_FRAME or len(documents) > frames.DOCUMENTS_PER_FRAME):
        middle = len(entries) // 2
        return encoded(device_id, entries[:middle]) + encoded(device_id, entries[middle:])
    return [SeqRange(device_id, entries[0].seq, entries[-1].seq, documents)]


def cut(device_id: str, entries: Iterable[ReadingLike], *, after: int, until: int | None = None) -> list[SeqRange]:
    """Entries of one log in order, all that there are behind `after`, as ranges of a frame each, without a hole.

    With `until` the log is known to be at least so long: what is missing up to there has been deleted.
    """
    seq_ranges: list[SeqRange] = []
    part: list[ReadingLike] = []
    for entry in entries:
        if part and (entry.seq != part[-1].seq + 1 or len(part) == frames.READINGS_PER_FRAME):
            seq_ranges += encoded(device_id, part)
            part = []
        if entry.seq != after + 1:
            seq_ranges.append(SeqRange(device_id, after + 1, entry.seq - 1, ""))
        part.append(entry)
        after = entry.seq
    if part:
        seq_ranges += encoded(device_id, part)
    if until is not None and after < until:
        seq_ranges.append(SeqRange(device_id, after + 1, until, ""))
    return seq_ranges


def joined(seq_ranges: Iterable[SeqRange]) -> list[SeqRange]:
    """Ranges that follow one another, in as few frames as they fit in."""
    result: list[SeqRange] = []
    group: list[SeqRange] = []
    count = size = 0
    for seq_range in seq_ranges:
        count += len(seq_range)
        size += len(seq_range.documents)
        full = count > frames.READINGS_PER_FRAME or size > frames.DOCUMENTS_PER_FRAME
        if group and (full or not seq_range.documents or not group[-1].documents):
            result.append(join(group))
            group, count, size = [], len(seq_range), len(seq_range.documents)
        group.append(seq_range)
    if group:
        result.append(join(group))
    return result


def join(group: list[SeqRange]) -> SeqRange:
    if len(group) == 1:
        return group[0]
    first = group[0]
    text = ",".join([seq_range.documents for seq_range in group])
    return SeqRange(first.device_id, first.first_seq, group[-1].last_seq, text)
