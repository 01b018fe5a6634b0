from uuid import UUID


def device_group(device_pk: UUID) -> str:
    """The channel-layer group of one device's watchers, from its UUID: device ids have letters that groups refuse."""
    return f"device.{device_pk.hex}"
