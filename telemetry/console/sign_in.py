"""The console's sign-in form. An account without a role is told so, but only after its password was right."""

from typing import Any

from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError

from devices.access.roles import has_role

NO_ROLE = (
    "The password is right, but this account has no role yet. Ask whoever manages the accounts of this server to add "
    "it to a group, such as Viewers or Operators."
)


class SignInForm(AdminAuthenticationForm):
    error_messages = {
        **AuthenticationForm.error_messages,
        "invalid_login": "Enter the correct user name and password. Upper and lower case differ in both.",
        "no_role": NO_ROLE,
    }

    def confirm_login_allowed(self, user: Any) -> None:
        """Called by Django after the password was found right; a deactivated account never gets here."""
        if not has_role(user):
            raise ValidationError(self.error_messages["no_role"], code="no_role")
