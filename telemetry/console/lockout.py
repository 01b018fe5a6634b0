"""The answer after too many failed sign-ins; django-axes counts them (AXES_ in the settings)."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from devices.plurals import counted
from telemetry.middleware import problems


def locked_out(request: HttpRequest, _response: HttpResponseBase | None, _credentials: Any) -> HttpResponse:
    """`AXES_LOCKOUT_CALLABLE`: 429 instead of the login page, even if this password is right."""
    seconds = int(settings.AXES_COOLOFF_TIME.total_seconds())
    wait = counted(seconds // 60, "minute", "minutes")
    detail = (
        f"Too many failed sign-ins for this name from this address. Wait {wait}, or unlock the name on the server: "
        "python manage.py axes_reset_username NAME"
    )
    response = problems.answer(request, status_code=429, code="locked_out", detail=detail)
    response["Retry-After"] = str(seconds)
    return response
