"""Who may open a page."""

from collections.abc import Callable

from django.contrib.auth.decorators import permission_required, user_passes_test
from django.http import HttpResponse
from django.views.decorators.http import require_safe

from devices.access.roles import has_role

View = Callable[..., HttpResponse]


def for_accounts_with(permission: str) -> Callable[[View], View]:
    """Decorates a read-only page for accounts with the permission.

    Others are sent to the sign-in page if they have no role, else they get a 403.
    """

    def wrap(view: View) -> View:
        permitted = permission_required(permission, raise_exception=True)(view)
        return require_safe(user_passes_test(has_role)(permitted))

    return wrap
