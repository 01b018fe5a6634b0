"""Announces changes of alarms to the processes with live sockets, after their commit.

Alarms are opened in the process that evaluates them, usually not one with sockets. So the channel layer carries the
changes. Without Redis, the sockets of this process are told directly, because the layer in memory may only be used in
the event loop of its receivers.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.dispatch import receiver

from devices.models import AccessVersion
from readings.alarms.signals import AlarmChange, alarms_changed
from realtime.announcing.breaker import breaker_of
from realtime.announcing.receivers import ANNOUNCE_SECONDS
from realtime.instruments import NOT_ANNOUNCED
from realtime.protocol.groups import ALARMS_CHANGED, ALARMS_GROUP, by_server
from realtime.stream.hub import hubs
from realtime.stream.open_alarms import known

# Changes in one message of the channel layer.
CHANGES_PER_MESSAGE = 100


@receiver(alarms_changed)
def announce(changes: list[AlarmChange], **_: Any) -> None:
    """Sends the changes, encoded once. A failure of the layer is counted, and logged by the breaker.

    Raises DatabaseError, which the sender of the signal logs. What is not announced is found by the next comparison
    with the database (`realtime.stream.alarm_boards`).
    """
    messages = list(in_messages(changes, access_version=AccessVersion.objects.current()))
    layer = get_channel_layer()
    if isinstance(layer, InMemoryChannelLayer):
        tell_own_sockets(messages)
    else:
        async_to_sync(send)(layer, messages)


def in_messages(changes: Sequence[AlarmChange], *, access_version: int) -> Iterator[dict[str, Any]]:
    """The messages that `realtime.stream.alarm_boards` receives.

    `changes` has the event and the fields of a `KnownAlarm` for each change. `access_version` is the number of
    revocations committed before them.
    """
    listed = [(change.event, *known(change.alarm)) for change in changes]
    for first in range(0, len(listed), CHANGES_PER_MESSAGE):
        part = listed[first : first + CHANGES_PER_MESSAGE]
        yield {"type": ALARMS_CHANGED, "changes": part, "access_version": access_version}


def tell_own_sockets(messages: Sequence[dict[str, Any]]) -> None:
    for loop, hub in list(hubs.items()):
        if loop.is_closed():
            continue
        for message in messages:
            loop.call_soon_threadsafe(hub.alarms.hear, message)


async def send(layer: Any, messages: Sequence[dict[str, Any]]) -> None:
    (server,) = by_server(layer, [ALARMS_GROUP])
    breaker = breaker_of(layer, server)
    if not breaker.lets_through():
        NOT_ANNOUNCED.inc()
        return
    try:
        async with asyncio.timeout(ANNOUNCE_SECONDS):
            for message in messages:
                await layer.group_send(ALARMS_GROUP, message)
    except Exception as error:  # the changes are stored, so no fault of the layer may fail the caller
        NOT_ANNOUNCED.inc()
        breaker.failed(error)
    else:
        breaker.succeeded()
