"""From the commit to the sockets: tells the channel layer of new readings."""

import asyncio
import logging
from collections.abc import Collection, Iterator
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.dispatch import receiver

from readings.signals import Appended, readings_recorded
from readings.stored import StoredReading
from realtime import frames
from realtime.groups import device_group
from realtime.instruments import NOT_ANNOUNCED
from realtime.layers import ChannelLayer

logger = logging.getLogger(__name__)

# A writer waits no longer for a channel layer that hangs; sockets then catch up from the database.
ANNOUNCE_SECONDS = 2


@receiver(readings_recorded)
async def announce(appended: list[Appended], **_: Any) -> None:
    """Sends each device's new readings to its group, encoded once, at most a frame's worth a message."""
    layer = get_channel_layer()
    try:
        async with asyncio.timeout(ANNOUNCE_SECONDS):
            logs = {device_group(log.device_pk): log for log in appended}
            # Whoever begins to listen after this reads these from the database: they are committed.
            heard = await groups_heard(layer, logs)
            await send(layer, [(group, message) for group in heard for message in messages(logs[group])])
    except Exception as error:  # stored they are: whatever ails the layer must not fail the write
        NOT_ANNOUNCED.inc()
        logger.warning("New readings were stored but not announced: the channel layer (REDIS_URL) is away (%r)", error)


async def groups_heard(layer: Any, groups: Collection[str]) -> Collection[str]:
    """Those of the groups that somebody listens to, as far as the layer can tell."""
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


def messages(log: Appended) -> Iterator[dict[str, Any]]:
    for part in parts(log.readings):
        yield {
            "type": "readings.recorded",
            "first_seq": part[0].seq,
            "last_seq": part[-1].seq,
            "frame": frames.readings(log.device_id, part),
        }


def parts(readings: list[StoredReading]) -> list[list[StoredReading]]:
    size = frames.READINGS_PER_FRAME
    return [readings[first : first + size] for first in range(0, len(readings), size)]
