"""Makes links to views, for tests."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from realtime.models import Share, View

QUERY = "device_id=mote-1&metrics=temperature&range=1h"


def view(query: str = QUERY, name: str = "North beds") -> View:
    return View.objects.create(name=name, query=query, created_by="somebody", created_at=timezone.now())


def link(query: str = QUERY, *, user: Any = None, seconds: float = 3600) -> str:
    """The token of a new link to a new view with this query, which ends after `seconds`."""
    now = timezone.now()
    expires_at = now + timedelta(seconds=seconds)
    shown = view(query, name=f"View {View.objects.count()}")
    return Share.objects.issue(shown, user=user, by="somebody", expires_at=expires_at, now=now)[1]
