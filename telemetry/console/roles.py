"""Three groups that every installation starts with, for accounts that are not superusers. Operators may change them."""

from typing import Any

from django.apps import apps as installed
from django.apps.registry import Apps
from django.db import transaction

VIEW = (
    *(
        "view_logentry",
        "view_device",
        "view_devicestate",
        "view_tag",
        "view_reading",
        "view_rejection",
        "view_alarm",
        "view_rule",
    ),
    *("view_metric", "view_view"),
)
OPERATE = (
    *("add_device", "change_device", "delete_device", "view_maintenanceround"),
    *("add_tag", "change_tag", "delete_tag", "acknowledge_alarm", "change_metric", "add_view", "delete_view"),
    *("view_share", "add_share", "delete_share"),
)
# Tokens and accounts. Nobody can give an account, or take from one, permissions beyond the own ones
# (`telemetry.console.accounts`).
ADMINISTER = (
    *("view_apitoken", "add_apitoken", "delete_apitoken"),
    *("view_user", "add_user", "change_user", "delete_user", "view_group"),
)
ROLES = {
    "Viewers": VIEW,
    "Operators": (*VIEW, *OPERATE),
    "Administrators": (*VIEW, *OPERATE, "manage_rules", *ADMINISTER),
}


def make_roles(apps: Apps = installed, **_: Any) -> None:
    """Creates the missing groups, after `migrate`, when their permissions exist."""
    try:
        Group, Permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")  # noqa: N806
    except LookupError:  # migrated back to a state without these models
        return
    for name, codenames in ROLES.items():
        # In one transaction: a group that was created without permissions would not get them the next time.
        with transaction.atomic():
            group, made = Group.objects.get_or_create(name=name)
            if made:
                group.permissions.set(Permission.objects.filter(codename__in=codenames))
