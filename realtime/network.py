"""The address of this machine on its network. Does not import Django, because the settings need it."""

import contextlib
import socket


def network_address() -> str | None:
    """The IPv4 address by which other machines on the network reach this one; None without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        # Connecting UDP sends nothing; it selects the local address that would be used (192.0.2.0/24: RFC 5737).
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return None
