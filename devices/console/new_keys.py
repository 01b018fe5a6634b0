"""Keeps new keys for a few minutes, for the page that shows them: the POST that makes keys redirects to that page.

So a reload of the page shows the keys again instead of sending the form again. The keys are in the account's session,
which every process can read, and which is written in the transaction that stores their hashes. They are encrypted; the
secret is in a cookie for this one page. A copy of the database, or of a log with its address, contains no key.
"""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.conf import settings
from django.contrib.sessions.exceptions import SessionInterrupted
from django.contrib.sessions.models import Session
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

# How long the page can be opened, in seconds.
SHOWN_SECONDS = 600
# Pages of one session at a time; one more replaces the oldest.
PAGES_KEPT = 20
# Of all pages of a session: four pages of 500 keys. Every request of the account reads its session.
CHARACTERS_KEPT = 300_000
IN_SESSION = "new_keys"
COOKIE = "new_keys"

Pair = tuple[str, str]
decoder = msgspec.json.Decoder(list[Pair])


class SeeOther(HttpResponseRedirect):
    """303, so that the browser opens the page with GET, and a reload repeats only that."""

    status_code = 303


def keep(
    request: HttpRequest, keys: Sequence[Pair], *, now: datetime, view: str = "admin:devices_device_new_keys"
) -> HttpResponse:
    """Stores (device id, key) pairs; returns the redirect to the page `view` that shows them.

    Call it in the transaction that stores the hashes, so that no key is stored that cannot be shown.
    """
    from cryptography.fernet import Fernet  # here, because it takes 8 MB, which servers without pages save

    page, secret = secrets.token_urlsafe(9), Fernet.generate_key()
    made = int(now.timestamp())
    sealed = Fernet(secret).encrypt_at_time(msgspec.json.encode(keys), made).decode()
    # Read again under a lock: `request.session` may lack what another tab has stored meanwhile.
    session_key = request.session.session_key
    if not Session.objects.select_for_update().filter(session_key=session_key).exists():
        raise SessionInterrupted("The session was ended before the request completed.")
    session: Any = type(request.session)(session_key)
    pages = [entry for entry in session.get(IN_SESSION, ()) if entry[1] > made - SHOWN_SECONDS]
    pages = [*pages[1 - PAGES_KEPT :], (page, made, sealed)]
    while len(pages) > 1 and sum(len(entry[2]) for entry in pages) > CHARACTERS_KEPT:
        del pages[0]
    session[IN_SESSION] = pages
    session.save()
    address = reverse(view, args=[page])
    response = SeeOther(address)
    response.set_cookie(
        COOKIE,
        secret.decode(),
        max_age=SHOWN_SECONDS,
        path=address,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Strict",
    )
    return response


def kept(request: HttpRequest, page: str, *, now: datetime) -> list[Pair] | None:
    """The (device id, key) pairs of a page; None if it is too late, or another browser or session."""
    sealed = next((entry[2] for entry in request.session.get(IN_SESSION, ()) if entry[0] == page), None)
    if sealed is None:
        return None
    from cryptography.fernet import Fernet, InvalidToken

    try:
        fernet = Fernet(request.COOKIES.get(COOKIE, ""))
        return decoder.decode(fernet.decrypt_at_time(sealed, SHOWN_SECONDS, int(now.timestamp())))
    except (ValueError, InvalidToken):
        return None
