"""The web origins that may open a socket.

The server must check them, because a browser sends the Origin header but lets any page connect.
"""

from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host


def origin_is_ours(origin: str, host: str) -> bool:
    """Whether `origin` is this server, addressed by `host` (the Host header), or one of ALLOWED_ORIGINS."""
    if origin.rstrip("/") in settings.ALLOWED_ORIGINS:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or parts.netloc.lower() != host.lower():
        return False
    domain, _ = split_domain_port(parts.netloc)
    return validate_host(domain, settings.ALLOWED_HOSTS)
