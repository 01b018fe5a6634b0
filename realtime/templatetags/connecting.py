from typing import Any

from django import template

from realtime.pages.markdown import Snippet, device_address, snippets

register = template.Library()


@register.simple_tag(takes_context=True)
def connect_snippets(context: dict[str, Any], key: str) -> list[Snippet]:
    """The example code for each kind of device, with the key and the address for devices filled in."""
    return snippets(address=device_address(context["request"]), key=key)


@register.simple_tag(takes_context=True)
def address_for_devices(context: dict[str, Any]) -> str:
    return device_address(context["request"])
