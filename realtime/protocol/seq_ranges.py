"""Ranges of a device's log, as announced, as read from the database, and as sent in one frame."""

from collections.abc import Iterable

import msgspec

from readings.log.entries import ReadingLike
from realtime.protocol import frames


class SeqRange(msgspec.Struct, frozen=True, gc=False):
    """The readings `first_seq` to `last_seq` (both included) of one device, encoded by `frames.documents`.

    Empty `documents` mean that these readings were deleted, for example by retention. `last_seen_at` as in
    `frames.readings`.
    """

    device_id: str
    first_seq: int
    last_seq: int
    documents: str
    last_seen_at: str | None = None

    def __len__(self) -> int:
        """The number of readings."""
        return self.last_seq - self.first_seq + 1

    def frame(self) -> str:
        if not self.documents:
            return frames.deleted(self.device_id, self.first_seq, self.last_seq)
        return frames.readings(self.device_id, self.documents, self.last_seen_at)


def encoded(device_id: str, entries: list[ReadingLike]) -> list[SeqRange]:
    """Encodes consecutive readings (at least one) as ranges that fit into one frame each."""
    documents = frames.documents(entries)
    if len(entries) > 1 and (len(entries) > frames.READINGS_PER_FRAME or len(documents) > frames.DOCUMENTS_PER_FRAME):
        middle = len(entries) // 2
        return encoded(device_id, entries[:middle]) + encoded(device_id, entries[middle:])
    return [SeqRange(device_id, entries[0].seq, entries[-1].seq, documents)]


def cut(device_id: str, entries: Iterable[ReadingLike], *, after: int, until: int | None = None) -> list[SeqRange]:
    """Cuts the entries of one log into consecutive ranges of one frame each, beginning at `after` + 1.

    `entries` must be all stored readings after `after`, in order: a missing `seq` becomes a range of deleted readings.
    If `until` is given, the log is at least that long, and what is missing up to it becomes such a range too.
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
    """Joins consecutive ranges of one log into as few ranges as fit into one frame each."""
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
    seen = next((seq_range.last_seen_at for seq_range in reversed(group) if seq_range.last_seen_at), None)
    return SeqRange(first.device_id, first.first_seq, group[-1].last_seq, text, seen)
