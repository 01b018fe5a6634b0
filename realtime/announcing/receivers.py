"""Announces new readings on the channel layer after their commit."""

import asyncio
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.dispatch import receiver

from readings.signals import Appended, readings_recorded
from realtime.announcing.breaker import breaker_of
from realtime.announcing.layers import ServersLayer
from realtime.instruments import NOT_ANNOUNCED
from realtime.protocol import frames
from realtime.protocol.groups import FLEET_GROUP, by_server, device_group
from realtime.protocol.seq_ranges import SeqRange, cut

# Seconds between two questions who listens, while nobody does to these devices: who begins to listen may get the first
# readings so late.
ASK_SECONDS = 0.1
# Readings that may wait for the next question.
WAITING_READINGS_MAX = 10_000
# Groups that are remembered as listened to, about 1 MB.
LISTENED_MAX = 10_000
# Seconds that a commit may wait for the channel layer. After that, sockets read the readings from the database.
ANNOUNCE_SECONDS = 1


class Turns:
    """The commits of one event loop that wait until it may ask again who listens.

    `listened`: the groups that had a listener when they were last asked for; None: unknown, or the layer need not be
    asked.
    """

    def __init__(self) -> None:
        self.waiting: list[list[Appended]] = []
        self.readings = 0
        self.listened: set[str] | None = None
        self.asked_at = 0.0  # `time.monotonic`

    def add(self, appended: list[Appended]) -> None:
        self.waiting.append(appended)
        self.readings += sum(len(log.readings) for log in appended)

    def may_wait(self, appended: list[Appended]) -> bool:
        """Whether nobody listened to these devices, nor to the fleet, last time."""
        if not self.listened:
            return self.listened is not None
        return FLEET_GROUP not in self.listened and self.listened.isdisjoint(
            device_group(log.device_pk) for log in appended
        )

    def note(self, asked: Collection[str], heard: Collection[str]) -> None:
        """Notes which of the groups have a listener."""
        self.listened = (self.listened or set()).difference(asked).union(heard)
        if len(self.listened) > LISTENED_MAX:
            self.listened = set(heard)

    def take(self) -> list[list[Appended]]:
        taken, self.waiting, self.readings = self.waiting, [], 0
        return taken


turns_of: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()


@receiver(readings_recorded)
async def announce(appended: list[Appended], waits: bool = True, **_: Any) -> None:
    """Sends new readings, encoded once, to the group of each device and to the fleet's group.

    Groups without a listener get nothing. For devices that nobody listens to, Redis is asked only every ASK_SECONDS,
    unless the sender of the signal `waits`; then the readings of all commits since are sent to those who listen now.
    Never raises: a failure is counted and logged by the server's breaker.
    """
    layer = get_channel_layer()
    turns = turns_of.setdefault(asyncio.get_running_loop(), Turns())
    turns.add(appended)
    left = turns.asked_at + ASK_SECONDS - time.monotonic()
    if not waits and left > 0 and turns.may_wait(appended) and turns.readings <= WAITING_READINGS_MAX:
        if len(turns.waiting) > 1:
            return  # the first of them asks for all
        await asyncio.sleep(left)
    if commits := turns.take():
        await announce_all(layer, [Announcement(commit) for commit in commits], turns)


async def announce_all(layer: Any, announcements: Sequence["Announcement"], turns: Turns) -> None:
    turns.asked_at = time.monotonic()
    groups = {group for announcement in announcements for group in announcement.logs}
    servers = by_server(layer, [*groups, FLEET_GROUP])
    # At the same time, so that a server that hangs delays only its own groups.
    heard = await asyncio.gather(*(tell(layer, server, of_it, announcements) for server, of_it in servers.items()))
    if not isinstance(layer, ServersLayer):  # only Redis has to be asked; the layer in memory knows
        return
    if None in heard:
        turns.listened = None
    else:
        turns.note([*groups, FLEET_GROUP], [group for of_server in heard for group in of_server or ()])


async def tell(
    layer: Any, server: int, groups: Collection[str], announcements: Sequence["Announcement"]
) -> Collection[str] | None:
    """Sends the announcements to these groups, which are on this server of the layer.

    Returns those that have a listener; None if that is unknown.
    """
    breaker = breaker_of(layer, server)
    if not breaker.lets_through():
        NOT_ANNOUNCED.inc(len(announcements))
        return None
    try:
        async with asyncio.timeout(ANNOUNCE_SECONDS):
            # A process that joins a group after this check reads these readings from the database: they are committed.
            heard = await groups_heard(layer, groups)
            if heard:
                await send(layer, [message for announcement in announcements for message in announcement.to(heard)])
    except Exception as error:  # the readings are stored, so no fault of the layer may fail the write
        NOT_ANNOUNCED.inc(len(announcements))
        breaker.failed(error)
        return None
    breaker.succeeded()
    return heard


async def groups_heard(layer: Any, groups: Collection[str]) -> Collection[str]:
    """Those of `groups` that have a listener; all of them if the layer cannot tell."""
    if isinstance(layer, ServersLayer):
        return await layer.heard(groups)
    return [group for group in groups if group in layer.groups] if isinstance(layer, InMemoryChannelLayer) else groups


async def send(layer: Any, announcements: list[tuple[str, dict[str, Any]]]) -> None:
    if isinstance(layer, ServersLayer):
        if announcements:
            await layer.send_to_groups(announcements)
        return
    for group, message in announcements:
        await layer.group_send(group, message)


class Announcement:
    """The messages about new readings. Each log is encoded once, however many servers have groups for it.

    `logs`: by the device's group.
    """

    def __init__(self, appended: Sequence[Appended]) -> None:
        self.logs = {device_group(log.device_pk): log for log in appended}
        self.by_device = {log.device_id: log for log in appended}
        self.version = max((log.access_version for log in appended), default=0)
        self.cuts: dict[str, list[SeqRange]] = {}

    def to(self, groups: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields (group, message) for each of these groups that has new readings.

        A message has at most READINGS_PER_FRAME readings.
        """
        for group in groups:
            if group in self.logs:
                yield from ((group, self.message([seq_range])) for seq_range in self.cut(group))
        if FLEET_GROUP in groups:
            yield from ((FLEET_GROUP, self.message(seq_ranges)) for seq_ranges in self.fleet())

    def fleet(self) -> Iterator[list[SeqRange]]:
        """The ranges of all logs, in parts of at most READINGS_PER_FRAME readings."""
        part: list[SeqRange] = []
        count = 0
        for group in self.logs:
            for seq_range in self.cut(group):
                if part and count + len(seq_range) > frames.READINGS_PER_FRAME:
                    yield part
                    part, count = [], 0
                part.append(seq_range)
                count += len(seq_range)
        if part:
            yield part

    def cut(self, group: str) -> list[SeqRange]:
        """The encoded readings of a device, in ranges of a frame each."""
        if group not in self.cuts:
            log = self.logs[group]
            self.cuts[group] = cut(log.device_id, log.readings, after=log.readings[0].seq - 1)
        return self.cuts[group]

    def message(self, seq_ranges: list[SeqRange]) -> dict[str, Any]:
        """The message that `realtime.stream.feed` receives.

        `stretches` lists device id, first seq, last seq and encoded readings of each range. `logs` maps device id
        to log id, `seen` maps it to the time of receipt if the device itself sent the readings. `access_version` is the
        number of revocations committed before these readings.
        """
        logs = {seq_range.device_id: self.by_device[seq_range.device_id] for seq_range in seq_ranges}
        return {
            "type": "readings.recorded",
            # Do not rename this key or add to its tuples: during an upgrade, processes of both versions share the
            # channel layer.
            "stretches": [(r.device_id, r.first_seq, r.last_seq, r.documents) for r in seq_ranges],
            "logs": {device_id: str(log.device_pk) for device_id, log in logs.items()},
            "seen": {device_id: frames.moment(log.received_at) for device_id, log in logs.items() if log.received_at},
            "access_version": self.version,
        }
