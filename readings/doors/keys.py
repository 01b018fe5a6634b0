"""Finds the key in a request of another protocol, whose clients cannot set `X-API-Key`."""

import base64
import binascii
from collections.abc import Mapping

KEY_SCHEMES = ("bearer", "token")


def key_in_headers(meta: Mapping[str, str]) -> str | None:
    """The key in `X-API-Key`, `Authorization: Token`, `Bearer` or `Basic` (as the password); None without one.

    `meta`: headers by their name in Django's META.
    """
    if (key := meta.get("HTTP_X_API_KEY")) is not None:
        return key.strip()
    scheme, _, credentials = meta.get("HTTP_AUTHORIZATION", "").partition(" ")
    scheme, credentials = scheme.lower(), credentials.strip()
    if scheme in KEY_SCHEMES:
        return credentials
    return password_in(credentials) if scheme == "basic" else None


def password_in(credentials: str) -> str | None:
    """The password of HTTP's Basic authentication (RFC 7617); None if the text is not such credentials."""
    try:
        _, colon, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    return password if colon else None
