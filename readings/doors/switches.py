"""Which doors are open: the setting `DOORS`."""

from enum import StrEnum

from django.conf import settings


class Door(StrEnum):
    INFLUX = "influx"
    MQTT = "mqtt"
    LORAWAN = "lorawan"
    THINGSBOARD = "thingsboard"


# Options of doors, in the same setting: the InfluxDB door accepts keys in the query of an address (`?p=…`).
INFLUX_QUERY_KEYS = "influx-query-keys"
# Closes all doors, because an empty setting means its default.
NONE = "none"
CHOICES = (*Door, INFLUX_QUERY_KEYS, NONE)


def is_open(door: str) -> bool:
    """Whether the door is open, or the option set. Read at each request, so tests can change it."""
    return door in settings.DOORS
