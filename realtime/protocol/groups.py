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
