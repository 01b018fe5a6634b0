"""The list of changes: who changed what, and how. Every way to change something writes it, in the transaction itself.

The list is Django's `LogEntry`, which the console shows as *Changes*. It names an account. For changes without one,
there are two service accounts, which nobody can sign in with.
"""

from collections.abc import Collection, Sequence

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.db.models import Model
from django.utils.text import capfirst

from devices.access.callers import Caller, Role

# No form accepts a space in a name, so no account of a person has one of these.
API_KEY = "API key"
COMMAND_LINE = "Command line"
SERVICE_ACCOUNTS = (API_KEY, COMMAND_LINE)

ROTATED = "Rotated the API key."
ACTIVATED = "Activated."
DEACTIVATED = "Deactivated."


def author(caller: Caller) -> int:
    """The account that a change by this administrator is logged under."""
    assert caller.role is Role.ADMIN
    return caller.user.pk if caller.user else service_account(API_KEY)


def service_account(name: str) -> int:
    """The primary key of this service account, which is created when it is needed first."""
    closed = {"is_active": False, "password": make_password(None)}
    return User.objects.get_or_create(username=name, defaults=closed)[0].pk


def log_added(objects: Sequence[Model], *, by: int) -> None:
    LogEntry.objects.log_actions(by, objects, ADDITION, [{"added": {}}])


def log_deleted(objects: Sequence[Model], *, by: int) -> None:
    LogEntry.objects.log_actions(by, objects, DELETION, "")


def log_changed(objects: Sequence[Model], change: str | Collection[str], *, by: int) -> None:
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
    LogEntry.objects.log_actions(by, objects, CHANGE, message)
