"""What an API token may do, and which of Django's permissions that includes."""

from collections.abc import Iterable

from django.db.models import TextChoices

SCOPES_CHARACTERS = 40
# Apps whose permissions the scopes `read` and `manage` include. Accounts and tokens are for administrators alone.
APPS = frozenset(("devices", "readings", "alarms", "realtime"))
OF_TOKENS = "_apitoken"
VIEW_CHANGES = "admin.view_logentry"


class Scope(TextChoices):
    READ = "read", "read: see devices, readings and alarms"
    MANAGE = "manage", "manage: change devices, tags, metrics and alarm rules; includes read"
    INGEST = "ingest", "ingest: post readings for devices, naming them"
    REGISTER = "register", "register: a door registers devices that it sees first; with ingest"


def includes(scopes: Iterable[Scope], permission: str) -> bool:
    """Whether a token with these scopes has this permission, such as "devices.view_device"."""
    return needed_for(permission) in {*scopes, *({Scope.READ} if Scope.MANAGE in scopes else ())}


def needed_for(permission: str) -> Scope | None:
    """The least scope that has this permission; None if no token may have it."""
    app, _, codename = permission.partition(".")
    if permission == VIEW_CHANGES:
        return Scope.READ
    if app not in APPS or codename.endswith(OF_TOKENS):
        return None
    return Scope.READ if codename.startswith("view_") else Scope.MANAGE
