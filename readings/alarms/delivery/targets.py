"""Checks the target of a channel when it is entered, and says what may be shown of it."""

import re
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from readings.alarms.delivery.senders.apprise_channel import AppriseFailed, service_of
from readings.alarms.outbox_models import ChannelKind

if TYPE_CHECKING:
    import httpx

HOST_CHARACTERS = 253
PORT_MAX = 65_535
SCHEME = re.compile(r"\s*([A-Za-z0-9+.-]{1,30}):")


class InvalidTarget(Exception):
    """The target is not one of its kind; the message says why, without the target. `code`: for the API."""

    def __init__(self, detail: str, *, code: str) -> None:
        super().__init__(detail)
        self.code = code


def checked_target(kind: str, target: str) -> str:
    """What may be shown of this target: an e-mail address as it is, of an URL only the beginning. Raises InvalidTarget.

    The addresses that the name of a host has are checked with each message, because they may change.
    """
    if "…" in target:
        detail = "This is what is shown of a target. Leave it out to keep the target, or enter all of it."
        raise InvalidTarget(detail, code="hidden_target")
    match kind:
        case ChannelKind.EMAIL:
            return email_hint(target)
        case ChannelKind.WEBHOOK:
            return webhook_hint(target)
    return apprise_hint(target)


def email_hint(target: str) -> str:
    try:
        validate_email(target)
        target.encode("ascii")
    except (ValidationError, UnicodeEncodeError) as error:
        raise InvalidTarget("This is not an e-mail address.", code="invalid_email") from error
    return target


def webhook_hint(target: str) -> str:
    """Only scheme, host and port: the path of a webhook is often its password."""
    url = webhook_url(target)
    if url.userinfo:
        raise InvalidTarget("A webhook's address must not have a user or password.", code="user_in_address")
    whole = url.raw_path in (b"/", b"")
    return f"{url.scheme}://{url.netloc.decode()}{'/' if whole else '/…'}"


def webhook_url(target: str) -> "httpx.URL":
    """Raises InvalidTarget."""
    import httpx  # here, as in `sending.send`

    try:
        url = httpx.URL(target)
    except (httpx.InvalidURL, ValueError) as error:
        raise InvalidTarget("This is not an address of a webhook.", code="invalid_address") from error
    if url.scheme not in ("http", "https") or not 1 <= len(url.raw_host) <= HOST_CHARACTERS:
        raise InvalidTarget("The address must begin with http:// or https:// and a host.", code="invalid_address")
    if url.port not in (None, *range(1, PORT_MAX + 1)) or any(character.isspace() for character in target):
        raise InvalidTarget("This is not an address of a webhook.", code="invalid_address")
    return url


def apprise_hint(target: str) -> str:
    """Only the scheme and the name of the service: tokens may be anywhere else in the URL."""
    scheme = SCHEME.match(target)
    try:
        service = service_of(target)
    except AppriseFailed as error:
        raise InvalidTarget(str(error), code="apprise_failed") from error
    if service is None or scheme is None:
        detail = "Apprise cannot read this URL. Its documentation lists the form for each service."
        raise InvalidTarget(detail, code="invalid_apprise_url")
    return f"{scheme[1].lower()}://… ({service})"
