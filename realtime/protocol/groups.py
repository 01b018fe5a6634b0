from uuid import UUID

# The channel-layer group of those who watch the whole fleet.
FLEET_GROUP = "fleet"


def device_group(device_pk: UUID) -> str:
    """The channel-layer group of one device's watchers, from its UUID: device ids have letters that groups refuse."""
    return f"device.{device_pk.hex}"
