"""Which accounts may sign in: pages, console, API and live sockets use the same rule."""

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Q

# A role is a group, whatever its name. "Staff status" is the same without a group; a superuser needs neither.
# The filter of accounts has an account once for each of its groups.
HAS_ROLE = Q(is_staff=True) | Q(is_superuser=True) | Q(groups__isnull=False)


def has_role(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Whether this is an active account with a role. What it may do is decided by its permissions."""
    if not isinstance(user, User) or not user.is_active:
        return False
    return user.is_staff or user.is_superuser or user.groups.exists()
