"""What a view declares, and how it is judged: see `CallerPermission`."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from devices.access.callers import Caller, Role

# Django's permission to see readings, and so also the latest values of a device.
VIEW_READINGS = "readings.view_reading"


class CallerPermission(BasePermission):
    """Reads what a viewset declares for each of its actions:

    - `admin_permissions`: action to the Django permission an administrator's account needs for it;
    - `open_to`: action to the other roles that may call it (its queryset scopes what a device sees).
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        caller = request.auth
        if not isinstance(caller, Caller):
            return False
        if view.action in (None, "", "metadata"):  # a method the view does not have: 405, to anyone it knows
            return True
        if caller.role is Role.ADMIN:
            permission = view.admin_permissions.get(view.action)
            return permission is not None and caller.may(permission)
        return caller.role in view.open_to.get(view.action, ())
