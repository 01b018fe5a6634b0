"""Two groups that every installation has, for accounts that are no superuser. Operators may change what is in them."""

from typing import Any

from django.apps import apps as installed
from django.apps.registry import Apps
from django.db import transaction

VIEW = ("view_device", "view_devicestate", "view_reading", "view_rejection")
ROLES = {
    "Viewers": VIEW,
    "Operators": (*VIEW, "add_device", "change_device", "delete_device", "view_logentry", "view_maintenanceround"),
}


def make_roles(apps: Apps = installed, **_: Any) -> None:
    """Makes those that there are not; after `migrate`, once there are permissions to give them."""
    try:
        Group, Permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")  # noqa: N806
    except LookupError:  # migrated back to before there were any
        return
    for name, codenames in ROLES.items():
        # A group without its permissions would stay without them: the next time it is there already.
        with transaction.atomic():
            group, made = Group.objects.get_or_create(name=name)
            if made:
                group.permissions.set(Permission.objects.filter(codename__in=codenames))
