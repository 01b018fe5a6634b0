from typing import Any

from django import template

from realtime.pages.addresses import DeviceAddress, connection_code, device_address
from realtime.pages.markdown import Snippet

register = template.Library()


@register.simple_tag(takes_context=True)
def connect_snippets(context: dict[str, Any], key: str, device_id: str) -> list[Snippet]:
    """The example code for each kind of device, with key, id and the address for devices filled in."""
    return connection_code(context["request"], key=key, device_id=device_id)


@register.simple_tag(takes_context=True)
def address_for_devices(context: dict[str, Any]) -> DeviceAddress:
    return device_address(context["request"])
