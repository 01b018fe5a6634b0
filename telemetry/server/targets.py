"""Request targets in absolute form: `POST http://host/api/v1/ingest HTTP/1.1` (RFC 9112, section 3.2.2).

Clients send them to proxies, and a server must accept them. The host of the target replaces the Host header, so that
the host that is checked against ALLOWED_HOSTS is the one that the client named. The scheme says nothing about the
connection, so it does not count.
"""

import re
from typing import NamedTuple

ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://")
# Host and port, path, query. No user name (RFC 9110, section 4.2.4), no fragment.
HOST = rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{0,5})?"
HTTP = re.compile(rb"(?i:https?)://(" + HOST + rb")(/[^?#]*)?(\?[^#]*)?")


class Target(NamedTuple):
    """`host`: as in a Host header. `origin`: the target in origin form, a path and a query."""

    host: bytes
    origin: bytes


class InvalidTarget(ValueError):
    """The target is in absolute form, but it is not an http or https address with a host."""


def absolute_target(target: bytes) -> Target | None:
    """Splits a request target; None if it is not in absolute form. Raises InvalidTarget."""
    if target.startswith(b"/") or not ABSOLUTE.match(target):
        return None
    match = HTTP.fullmatch(target)
    if not match:
        raise InvalidTarget
    host, path, query = match.groups(default=b"")
    return Target(host.rstrip(b":"), (path or b"/") + query)
