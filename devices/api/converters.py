from typing import Any

from django.urls import register_converter
from django.urls.converters import StringConverter

from devices.tags.names import is_tag_name
from devices.validators import DEVICE_ID_PATTERN


class DeviceIdConverter(StringConverter):
    """`<device_id:device_id>` in a path. A text that is not a valid device id does not match (404)."""

    regex = DEVICE_ID_PATTERN


class TagNameConverter(StringConverter):
    """`<tag_name:name>` in a path. A text that is not a valid name of a tag does not match (404)."""

    def to_python(self, value: str) -> str:
        if not is_tag_name(value):
            raise ValueError(value)
        return value


class TokenIdConverter(StringConverter):
    """`<token_id:token_id>` in a path: a positive integer of at most 18 digits, which every database can hold."""

    regex = "[1-9][0-9]{0,17}"

    def to_python(self, value: str) -> Any:
        return int(value)


register_converter(TokenIdConverter, "token_id")
register_converter(TagNameConverter, "tag_name")
register_converter(DeviceIdConverter, "device_id")
