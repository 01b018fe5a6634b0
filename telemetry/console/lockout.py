"""What somebody is told who has guessed a password too often; django-axes counts (AXES_ in the settings)."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from telemetry.middleware import problems


def locked_out(request: HttpRequest, _response: HttpResponseBase | None, _credentials: Any) -> HttpResponse:
    """`AXES_LOCKOUT_CALLABLE`: 429, in place of the login page, whether or not the password was right this time."""
    seconds = int(settings.AXES_COOLOFF_TIME.total_seconds())
    detail = (
        f"Too many failed sign-ins for this name from this address. Wait {seconds // 60} minutes, or have it lifted "
        "on the server: python manage.py axes_reset_username NAME"
    )
    response = problems.answer(request, status_code=429, code="locked_out", detail=detail)
    response["Retry-After"] = str(seconds)
    return response
