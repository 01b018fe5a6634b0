from django.urls import register_converter
from django.urls.converters import StringConverter

from devices.validators import DEVICE_ID_PATTERN


class DeviceIdConverter(StringConverter):
    """`<device_id:device_id>` in a path. A text that is not a valid device id does not match (404)."""

    regex = DEVICE_ID_PATTERN


register_converter(DeviceIdConverter, "device_id")
