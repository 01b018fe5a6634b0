"""Which network addresses may be connected to. Needs neither Django nor settings, because `apprise_process` uses it."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# Refused always: link-local addresses and those at which clouds give out credentials, addresses that mean this machine
# in disguise, and those that no receiver has.
REFUSED = tuple(
    ip_network(network)
    for network in (
        *("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "192.0.0.192/32", "192.0.0.170/31"),
        *("100.100.100.200/32", "168.63.129.16/32"),  # metadata of Alibaba, Azure
        *("::/128", "fe80::/10", "fec0::/10", "ff00::/8"),
        *("fd00:ec2::254/128", "fd20:ce::254/128", "fd00:42::42/128"),  # metadata of AWS, Google, Scaleway
    )
)
# Prefixes of IPv6 addresses that contain an IPv4 address, and how many bits follow it.
EMBEDDING = (
    (ip_network("::ffff:0:0/96"), 0),
    (ip_network("::ffff:0:0:0/96"), 0),
    (ip_network("::/96"), 0),
    (ip_network("64:ff9b::/96"), 0),
    (ip_network("64:ff9b:1::/48"), 0),
    (ip_network("2002::/16"), 80),
)
LOOPBACK = IPv6Address("::1")


class AddressRefused(Exception):
    """This address must not be connected to; the message says why."""


def check_address(address: str, *, private: bool) -> None:
    """Raises AddressRefused unless a connection to this numeric address is allowed.

    `private` allows addresses of private networks and of this machine. An IPv4 address inside an IPv6 address counts.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError as error:
        raise AddressRefused(f"{address[:60]!r} is not a numeric address.") from error
    meant = [found for found in (parsed, embedded(parsed)) if found is not None]
    if any(found in network for found in meant for network in REFUSED):
        raise AddressRefused(f"The address {parsed} is link-local, reserved or a metadata service.")
    if not private and not all(found.is_global for found in meant):
        detail = "is in a private network, which ALLOW_PRIVATE_TARGETS=false forbids"
        raise AddressRefused(f"The address {parsed} {detail}.")


def embedded(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """The IPv4 address that this IPv6 address stands for; None if there is none."""
    if address.version == 4 or address == LOOPBACK:
        return None
    for prefix, following in EMBEDDING:
        if address in prefix:
            return IPv4Address(int(address) >> following & 0xFFFF_FFFF)
    return None
