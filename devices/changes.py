"""The list of changes: who changed what, and how. Every way to change something writes it, in the transaction itself.

The list is Django's `LogEntry`, which the console shows as *Changes*. It names an account. For changes without one,
there are service accounts, which nobody can sign in with.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.db.models import Model
from django.utils.text import capfirst

from devices.access.callers import Caller, Role

# No form accepts a space in a name, so no account of a person has one of these.
API_KEY = "API key"
API_TOKEN = "API token"  # noqa: S105
COMMAND_LINE = "Command line"
SERVICE_ACCOUNTS = (API_KEY, API_TOKEN, COMMAND_LINE)

ROTATED = "Rotated the API key."
ACTIVATED = "Activated."
DEACTIVATED = "Deactivated."


class Via(StrEnum):
    """How a change was made. `CONSOLE`: by an account that was signed in, on any page."""

    CONSOLE = "console"
    API_KEY = "api_key"
    TOKEN = "token"  # noqa: S105
    COMMAND = "command"


@dataclass(frozen=True)
class Author:
    """Who changes something. `user_id`: the account under which the list has it. `name`: of the account or token."""

    user_id: int
    name: str
    via: Via


def author(caller: Caller) -> Author:
    """The author of a change by this caller of the API."""
    if caller.token is not None:
        return Author(service_account(API_TOKEN), caller.token.name, Via.TOKEN)
    assert caller.role is Role.ADMIN
    if caller.user is not None:
        return account(caller.user)
    return Author(service_account(API_KEY), API_KEY, Via.API_KEY)


def account(user: Any) -> Author:
    """The author of a change by the account that is signed in."""
    assert user.pk is not None
    return Author(user.pk, user.get_username(), Via.CONSOLE)


def command() -> Author:
    """The author of a change by a command on the server."""
    return Author(service_account(COMMAND_LINE), COMMAND_LINE, Via.COMMAND)


def service_account(name: str) -> int:
    """The primary key of this service account, which is created when it is needed first."""
    closed = {"is_active": False, "password": make_password(None)}
    return User.objects.get_or_create(username=name, defaults=closed)[0].pk


def log_added(objects: Sequence[Model], *, by: Author) -> None:
    LogEntry.objects.log_actions(by.user_id, objects, ADDITION, [{"added": {}}])


def log_deleted(objects: Sequence[Model], *, by: Author) -> None:
    LogEntry.objects.log_actions(by.user_id, objects, DELETION, "")


def log_changed(objects: Sequence[Model], change: str | Collection[str], *, by: Author) -> None:
    """Logs one change of several objects of a model, in one statement: a sentence, or the names of the changed fields.

    A sentence must not contain a key. Without objects or fields, nothing is logged.
    """
    if not objects or not change:
        return
    message: str | list[dict[str, dict[str, list[str]]]]
    if isinstance(change, str):
        message = change
    else:
        # As the console writes it.
        names = {field.name: field.verbose_name for field in objects[0]._meta.fields}
        labels = [capfirst(str(names.get(name, name))) for name in change]
        message = [{"changed": {"fields": labels}}]
    LogEntry.objects.log_actions(by.user_id, objects, CHANGE, message)
