"""The permission class of all viewsets; it checks what the viewset declares."""

from typing import Any

from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from devices.access.callers import Caller, Role
from devices.tokens.scopes import Scope, needed_for

# Django's permission to view readings, which includes the latest values of a device.
VIEW_READINGS = "readings.view_reading"


class MissingScope(PermissionDenied):
    default_code = "missing_scope"

    def __init__(self, needed: Scope | None, given: frozenset[Scope]) -> None:
        has = ", ".join(sorted(given))
        if needed is None:
            super().__init__(f"No token may do this. It takes an administrator. The scopes of this token: {has}.")
        else:
            super().__init__(f"This token lacks the scope “{needed.value}”. Its scopes: {has}.")


class Limited(PermissionDenied):
    default_code = "limited"
    default_detail = (
        "This token or account is limited to the devices with some tags. What concerns all devices needs one that is "
        "not limited."
    )


class CallerPermission(BasePermission):
    """Checks a call against three attributes of the viewset:

    - `admin_permissions` maps an action to the Django permission that an administrator's account needs for it, and a
      token by its scopes;
    - `open_to` maps an action to the other roles that may call it (the queryset limits a device to its own data). What
      is open to gateways is open to tokens with the scope `ingest`;
    - `fleet_wide` (optional) names the actions that concern all devices: callers limited to tags may not call them.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        caller = request.auth
        if not isinstance(caller, Caller):
            return False
        if view.action in (None, "", "metadata"):  # the view lacks this method: any known caller gets a 405
            return True
        permission = view.admin_permissions.get(view.action)
        roles = view.open_to.get(view.action, ())
        if caller.token is not None:
            posts = Role.FLEET in roles and caller.has_scope(Scope.INGEST)
            if not posts and (permission is None or not caller.may(permission)):
                needed = Scope.INGEST if permission is None and Role.FLEET in roles else needed_for(permission or "")
                raise MissingScope(needed, caller.token.scopes)
        elif caller.role is Role.ADMIN:
            if permission is None or not caller.may(permission):
                return False
        elif caller.role not in roles:
            return False
        if view.action in getattr(view, "fleet_wide", ()) and caller.limit is not None:
            raise Limited
        return True
