from uuid import UUID

# The channel-layer group for sockets that watch the whole fleet.
FLEET_GROUP = "fleet"


def device_group(device_pk: UUID) -> str:
    """The channel-layer group for one device.

    It is made from the UUID because device ids may contain `:`, which group names do not allow.
    """
    return f"device.{device_pk.hex}"
