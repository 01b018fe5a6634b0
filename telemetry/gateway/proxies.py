"""The client's address and scheme from the headers of trusted proxies (TRUSTED_PROXIES), and from no one else."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, cast

from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

Network = IPv4Network | IPv6Network
Headers = Iterable[tuple[bytes, bytes]]

# The entry in TRUSTED_PROXIES for clients on a Unix socket, which have no address.
UNIX = "unix"
# Headers that only a trusted proxy may set. Two of them are used (x-forwarded-for and -proto); all are removed. With
# the last one, daphne would let any client set the prefix of all URLs.
FORWARDING = frozenset(
    {
        *(b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port"),
        *(b"x-forwarded-prefix", b"x-forwarded-server", b"x-real-ip", b"daphne-root-path"),
    }
)
SCHEMES = {"http": {"http": "http", "https": "https"}, "websocket": {"http": "ws", "https": "wss"}}


class TrustedProxies:
    """ASGI middleware: sets `client` and `scheme` from the headers of a trusted proxy, and removes all such headers.

    So the inner applications can use the scope as it is and never need to check `X-Forwarded-For`.
    """

    def __init__(self, application: ASGI3Application, *, trusted: Sequence[str]) -> None:
        self.application = application
        self.unix = UNIX in trusted
        self.networks = [parse_network(entry) for entry in trusted if entry != UNIX]
        # Cached, because many requests come from few proxies.
        self.trusts = lru_cache(1024)(self.listed)

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "lifespan":
            given = scope["headers"]
            if not FORWARDING.isdisjoint([name for name, _ in given]):
                headers = [pair for pair in given if pair[0] not in FORWARDING]
                scope = cast(Scope, scope | {"headers": headers} | self.said(scope, given))
            scope["root_path"] = ""  # type: ignore[typeddict-unknown-key]  # because daphne sets it from Daphne-Root-Path
        await self.application(scope, receive, send)

    def said(self, scope: Any, headers: Headers) -> dict[str, Any]:
        """The scope entries that a trusted proxy corrects; {} if the peer is not one."""
        peer = scope.get("client")
        if not (self.trusts(peer[0]) if peer and peer[0] else self.unix):
            return {}
        said: dict[str, Any] = {}
        # The last value comes from the nearest proxy.
        scheme = SCHEMES[scope["type"]].get(last(headers, b"x-forwarded-proto").lower())
        if scheme:
            said["scheme"] = scheme
        if client := self.client(headers):
            said["client"] = (client, 0)
        return said

    def client(self, headers: Headers) -> str | None:
        """The last address in X-Forwarded-For that is not a trusted proxy. Addresses before it can be forged."""
        found = None
        for hop in reversed(values(headers, b"x-forwarded-for")):
            address = parse_address(hop)
            if address is None:
                break
            found = str(address)
            if not self.trusts(found):
                break
        return found

    def listed(self, peer: str) -> bool:
        address = parse_address(peer)
        return address is not None and any(address in network for network in self.networks)


def parse_network(text: str) -> Network:
    """The network of an entry in TRUSTED_PROXIES; an address is a network of one. Raises ValueError."""
    return ip_network(text, strict=False)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """`192.0.2.1`, `2001:db8::1`, `[2001:db8::1]:443`, `192.0.2.1:443`; None for anything else."""
    host, bracket, _ = text.removeprefix("[").partition("]") if text.startswith("[") else (text, "", "")
    if not bracket and host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def values(headers: Headers, name: bytes) -> list[str]:
    """The comma-separated values of all headers of this name, in order."""
    given = (value.decode("latin-1") for header, value in headers if header == name)
    return [part.strip() for value in given for part in value.split(",")]


def last(headers: Headers, name: bytes) -> str:
    found = values(headers, name)
    return found[-1] if found else ""
