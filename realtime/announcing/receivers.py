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
from realtime.announcing.redis_layer import ChannelLayer
from realtime.instruments import NOT_ANNOUNCED
from realtime.protocol import frames
from realtime.protocol.groups import FLEET_GROUP, device_group
from realtime.protocol.seq_ranges import SeqRange, cut

# Seconds between two questions who listens, while nobody does: who begins to listen may get the first readings so late.
ASK_SECONDS = 0.1
# Readings that may wait for the next question.
WAITING_READINGS_MAX = 10_000
# Seconds that a commit may wait for the channel layer. After that, sockets read the readings from the database.
ANNOUNCE_SECONDS = 1


class Turns:
    """The commits of one event loop that wait until it may ask again who listens, and whether anybody did last time."""

    def __init__(self) -> None:
        self.waiting: list[list[Appended]] = []
        self.readings = 0
        self.quiet = False
        self.asked_at = 0.0  # `time.monotonic`

    def add(self, appended: list[Appended]) -> None:
        self.waiting.append(appended)
        self.readings += sum(len(log.readings) for log in appended)

    def take(self) -> list[list[Appended]]:
        taken, self.waiting, self.readings = self.waiting, [], 0
        return taken


turns_of: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()


@receiver(readings_recorded)
async def announce(appended: list[Appended], waits: bool = True, **_: Any) -> None:
    """Sends new readings, encoded once, to the group of each device and to the fleet's group.

    Groups without a listener get nothing. While nobody listens, Redis is asked only every ASK_SECONDS, unless the
    sender of the signal `waits`; then the readings of all commits since are sent to those who listen now. Never raises:
    a failure is counted and logged by the breaker.
    """
    layer = get_channel_layer()
    turns = turns_of.setdefault(asyncio.get_running_loop(), Turns())
    turns.add(appended)
    left = turns.asked_at + ASK_SECONDS - time.monotonic()
    if turns.quiet and not waits and left > 0 and turns.readings <= WAITING_READINGS_MAX:
        if len(turns.waiting) > 1:
            return  # the first of them asks for all
        await asyncio.sleep(left)
    if commits := turns.take():
        await announce_all(layer, commits, turns)


async def announce_all(layer: Any, commits: Sequence[list[Appended]], turns: Turns) -> None:
    breaker = breaker_of(layer)
    if not breaker.lets_through():
        NOT_ANNOUNCED.inc(len(commits))
        return
    try:
        async with asyncio.timeout(ANNOUNCE_SECONDS):
            turns.asked_at = time.monotonic()
            by_group = [{device_group(log.device_pk): log for log in appended} for appended in commits]
            # A process that joins a group after this check reads these readings from the database: they are committed.
            heard = set(await groups_heard(layer, [*{group for groups in by_group for group in groups}, FLEET_GROUP]))
            # Only Redis has to be asked; the layer in memory knows.
            turns.quiet = not heard and isinstance(layer, ChannelLayer)
            if heard:
                await send(layer, [message for groups in by_group for message in announcements(groups, heard)])
    except Exception as error:  # the readings are stored, so no fault of the layer may fail the write
        NOT_ANNOUNCED.inc(len(commits))
        breaker.failed(error)
    else:
        breaker.succeeded()


async def groups_heard(layer: Any, groups: Collection[str]) -> Collection[str]:
    """Those of `groups` that have a listener; all of them if the layer cannot tell."""
    if isinstance(layer, ChannelLayer):
        return await layer.heard(groups)
    return [group for group in groups if group in layer.groups] if isinstance(layer, InMemoryChannelLayer) else groups


async def send(layer: Any, announcements: list[tuple[str, dict[str, Any]]]) -> None:
    if isinstance(layer, ChannelLayer):
        if announcements:
            await layer.send_to_groups(announcements)
        return
    for group, message in announcements:
        await layer.group_send(group, message)


def announcements(groups: dict[str, Appended], heard: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (group, message) for each group in `heard`; a message has at most READINGS_PER_FRAME readings."""
    version = max((log.access_version for log in groups.values()), default=0)
    logs = {log.device_id: log for log in groups.values()}

    def message(seq_ranges: list[SeqRange]) -> dict[str, Any]:
        """The message that `realtime.stream.feed` receives.

        `stretches` lists device id, first seq, last seq and encoded readings of each range. `logs` maps device id
        to log id, `seen` maps it to the time of receipt if the device itself sent the readings. `access_version` is the
        number of revocations committed before these readings.
        """
        device_ids = {seq_range.device_id for seq_range in seq_ranges}
        return {
            "type": "readings.recorded",
            # Do not rename this key or add to its tuples: during an upgrade, processes of both versions share the
            # channel layer.
            "stretches": [(r.device_id, r.first_seq, r.last_seq, r.documents) for r in seq_ranges],
            "logs": {device_id: str(logs[device_id].device_pk) for device_id in device_ids},
            "seen": {
                device_id: frames.moment(received_at)
                for device_id in device_ids
                if (received_at := logs[device_id].received_at)
            },
            "access_version": version,
        }

    fleet: list[SeqRange] = []
    count = 0
    for group, log in groups.items():
        if group not in heard and FLEET_GROUP not in heard:
            continue
        seq_ranges = cut(log.device_id, log.readings, after=log.readings[0].seq - 1)
        if group in heard:
            yield from ((group, message([seq_range])) for seq_range in seq_ranges)
        if FLEET_GROUP in heard:
            for seq_range in seq_ranges:
                if fleet and count + len(seq_range) > frames.READINGS_PER_FRAME:
                    yield FLEET_GROUP, message(fleet)
                    fleet, count = [], 0
                fleet.append(seq_range)
                count += len(seq_range)
    if fleet:
        yield FLEET_GROUP, message(fleet)
