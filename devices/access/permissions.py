"""The permission class of all viewsets; it checks what the viewset declares."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from devices.access.callers import Caller, Role

# Django's permission to view readings, which includes the latest values of a device.
VIEW_READINGS = "readings.view_reading"


class CallerPermission(BasePermission):
    """Checks a call against two attributes of the viewset:

    - `admin_permissions` maps an action to the Django permission that an administrator's account needs for it;
    - `open_to` maps an action to the other roles that may call it (the queryset limits a device to its own data).
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        caller = request.auth
        if not isinstance(caller, Caller):
            return False
        if view.action in (None, "", "metadata"):  # the view lacks this method: any known caller gets a 405
            return True
        if caller.role is Role.ADMIN:
            permission = view.admin_permissions.get(view.action)
            return permission is not None and caller.may(permission)
        return caller.role in view.open_to.get(view.action, ())
