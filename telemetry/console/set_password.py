"""Links to set a password: for a new account, and for who forgot theirs. A link ends when it was used, or in 3 days."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.contrib.auth.views import PasswordResetConfirmView
from django.http import HttpRequest, HttpResponse
from django.urls import reverse, reverse_lazy
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from devices.changes.log import account, log_changed


def link_for(user: User, request: HttpRequest) -> str:
    """A link with which anyone can set the password of this account."""
    parts = {
        "uidb64": urlsafe_base64_encode(force_bytes(user.pk)),
        "token": default_token_generator.make_token(user),
    }
    address = reverse("admin:set_password", kwargs=parts)
    return f"{settings.PUBLIC_URL}{address}" if settings.PUBLIC_URL else request.build_absolute_uri(address)


class SetPasswordView(PasswordResetConfirmView):
    """The page of a link: asks for the new password twice."""

    template_name = "telemetry/set_password.html"
    success_url = reverse_lazy("admin:login")
    title = "Set your password"

    def form_valid(self, form: Any) -> HttpResponse:
        answer = super().form_valid(form)
        log_changed([form.user], "Set the password with a link.", by=account(form.user))
        return answer
