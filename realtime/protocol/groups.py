from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

# The channel-layer group for sockets that watch the whole fleet.
FLEET_GROUP = "fleet"
# The channel-layer group for changes of alarms, of all devices.
ALARMS_GROUP = "alarms"
# The type of its messages.
ALARMS_CHANGED = "alarms.changed"


def device_group(device_pk: UUID) -> str:
    """The channel-layer group for one device.

    It is made from the UUID because device ids may contain `:`, which group names do not allow.
    """
    return f"device.{device_pk.hex}"


def by_server(layer: Any, groups: Collection[str]) -> dict[int, list[str]]:
    """The groups by the server of the channel layer that carries them, numbered from 0; only those with a group."""
    split: Callable[[Collection[str]], dict[int, list[str]]] | None = getattr(layer, "by_server", None)
    if split is not None:
        return split(groups)
    return {0: list(groups)} if groups else {}
