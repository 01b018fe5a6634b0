"""From the commit to the sockets: tells the channel layer of new readings."""

import asyncio
import logging
from typing import Any

from channels.layers import get_channel_layer
from django.dispatch import receiver

from readings.signals import Appended, readings_recorded
from readings.stored import StoredReading
from realtime import frames
from realtime.groups import device_group

logger = logging.getLogger(__name__)

# A writer waits no longer for a channel layer that hangs; sockets then catch up from the database.
ANNOUNCE_SECONDS = 2


@receiver(readings_recorded)
async def announce(appended: list[Appended], **_: Any) -> None:
    """Sends each device's new readings to its group, encoded once, at most a frame's worth a message."""
    layer = get_channel_layer()
    try:
        async with asyncio.timeout(ANNOUNCE_SECONDS):
            for log in appended:
                for part in parts(log.readings):
                    await layer.group_send(
                        device_group(log.device_pk),
                        {
                            "type": "readings.recorded",
                            "first_seq": part[0].seq,
                            "last_seq": part[-1].seq,
                            "frame": frames.readings(log.device_id, part),
                        },
                    )
    except Exception as error:  # stored they are: whatever ails the layer must not fail the write
        logger.warning("New readings were stored but not announced: the channel layer (REDIS_URL) is away (%r)", error)


def parts(readings: list[StoredReading]) -> list[list[StoredReading]]:
    size = frames.READINGS_PER_FRAME
    return [readings[first : first + size] for first in range(0, len(readings), size)]
