"""The address of this server in the code for devices: many open a page at localhost, which no device reaches."""

from typing import NamedTuple

from django.conf import settings
from django.http import HttpRequest
from django.http.request import split_domain_port

from realtime.network import network_address
from realtime.pages.markdown import Snippet, server_address, snippets

LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")
# Code that may run on the machine where the page was opened.
FOR_COMPUTERS = ("curl", "python", "mqtt", "mqtt-with-python", "influxdb-client")


class DeviceAddress(NamedTuple):
    """An address of this server for devices.

    `inferred`: it is this machine's on its network, and not the one in the browser. `reachable`: false if the server
    listens on loopback addresses only, so that devices reach it only after a restart with another HOST.
    """

    url: str
    inferred: bool
    reachable: bool


def device_address(request: HttpRequest) -> DeviceAddress:
    host, port = split_domain_port(request.get_host())
    if host not in LOOPBACK:
        return DeviceAddress(server_address(request), inferred=False, reachable=True)
    reachable = settings.HOST not in LOOPBACK
    if (found := network_address()) is None:
        return DeviceAddress(server_address(request), inferred=False, reachable=False)
    url = f"{request.scheme}://{found}:{port}" if port else f"{request.scheme}://{found}"
    return DeviceAddress(url, inferred=True, reachable=reachable)


def connection_code(request: HttpRequest, *, key: str | None, device_id: str | None) -> list[Snippet]:
    """The code for each kind of device, with an address that it reaches now or after the restart that a note names."""
    address = device_address(request)
    code = snippets(address=address.url, key=key, device_id=device_id)
    if address.reachable:
        return code
    local = snippets(address=server_address(request), key=key, device_id=device_id)
    here = {snippet.slug: snippet for snippet in local}
    return [here[snippet.slug] if snippet.slug in FOR_COMPUTERS else snippet for snippet in code]
