"""Who may open a page."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth.decorators import permission_required, user_passes_test
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from devices.access.callers import viewer_of
from devices.access.permissions import Limited
from devices.access.roles import has_role

View = Callable[..., HttpResponse]


def for_accounts_with(permission: str, *, fleet_wide: bool = False) -> Callable[[View], View]:
    """Decorates a read-only page for accounts with the permission.

    Others are sent to the sign-in page if they have no role, else they get a 403. So do accounts that are limited to
    tags if the page is `fleet_wide`.
    """

    def wrap(view: View) -> View:
        def within_limit(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if viewer_of(request.user).limit is not None:
                raise PermissionDenied(Limited.default_detail)
            return view(request, *args, **kwargs)

        permitted = permission_required(permission, raise_exception=True)(within_limit if fleet_wide else view)
        return require_safe(user_passes_test(has_role)(permitted))

    return wrap
