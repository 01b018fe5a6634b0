"""The list of changes: who changed what, and how. Every way to change something writes it, in the transaction itself.

The list is Django's `LogEntry`, which the console shows as *Changes*, with a `ChangeDetail` for each. `LogEntry` names
an account. For changes without one, there are service accounts, which nobody can sign in with.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.db.models import Model
from django.utils.text import capfirst

from devices.access.callers import Caller, Role
from devices.changes.models import Via
from devices.models import ChangeDetail

# No form accepts a space in a name, so no account of a person has one of these.
API_KEY = "API key"
API_TOKEN = "API token"  # noqa: S105
COMMAND_LINE = "Command line"
SERVICE_ACCOUNTS = (API_KEY, API_TOKEN, COMMAND_LINE)

ROTATED = "Rotated the API key."
ACTIVATED = "Activated."
DEACTIVATED = "Deactivated."

# Fields with one of these words in their name are not kept: they may have a secret, or what is derived from one.
SECRET_WORDS = ("hash", "hint", "password", "secret", "target", "token")
# Characters of one value, of which the list keeps no more.
VALUE_CHARACTERS = 500

Values = Mapping[str, Any]


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
    entries = LogEntry.objects.log_actions(by.user_id, objects, ADDITION, [{"added": {}}])
    keep_details(entries, objects, by=by, after=[fields_of(added) for added in objects])


def log_deleted(objects: Sequence[Model], *, by: Author) -> None:
    entries = LogEntry.objects.log_actions(by.user_id, objects, DELETION, "")
    keep_details(entries, objects, by=by, before=[fields_of(deleted) for deleted in objects])


def log_changed(
    objects: Sequence[Model],
    change: str | Collection[str],
    *,
    by: Author,
    before: Values | None = None,
    after: Values | None = None,
) -> None:
    """Logs one change of several objects of a model: a sentence, or the names of the changed fields.

    A sentence must not contain a key. `before`, `after`: the values of the changed fields, by name; fields whose names
    say that they have a secret are left out. Without objects or fields, nothing is logged.
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
    entries = LogEntry.objects.log_actions(by.user_id, objects, CHANGE, message)
    keep_details(entries, objects, by=by, before=[before or {}] * len(entries), after=[after or {}] * len(entries))


def values_of(changed: Model, names: Iterable[str]) -> dict[str, Any]:
    """The values of those of these names that are fields of the object."""
    fields = {field.name: field.attname for field in changed._meta.concrete_fields}
    return {name: getattr(changed, fields[name]) for name in names if name in fields}


def fields_of(logged: Model) -> dict[str, Any]:
    """The values of all fields that people choose and that are not empty."""
    chosen = [field for field in logged._meta.concrete_fields if field.editable and not field.primary_key]
    names = [field.name for field in chosen if not field.name.startswith("created_")]
    return {name: value for name, value in values_of(logged, names).items() if value not in (None, "")}


def keep_details(
    entries: Sequence[Any],
    objects: Sequence[Model],
    *,
    by: Author,
    before: Sequence[Values] = (),
    after: Sequence[Values] = (),
) -> None:
    """Stores the details of these entries, each of one object, in one statement."""
    nothing: list[Values] = [{}] * len(entries)
    details = []
    for entry, changed, was, became in zip(entries, objects, before or nothing, after or nothing, strict=True):
        named = str(getattr(changed, "device_id", "")) if changed._meta.label == "devices.Device" else ""
        detail = ChangeDetail(entry=entry, actor=by.name, via=by.via, device_id=named)
        detail.before, detail.after = encoded(was), encoded(became)
        details.append(detail)
    ChangeDetail.objects.bulk_create(details, batch_size=500)


def encoded(values: Values) -> str:
    shown = {
        name: shortened(value)
        for name, value in values.items()
        if not any(word in name.lower() for word in SECRET_WORDS)
    }
    return msgspec.json.encode(shown, enc_hook=str).decode()


def shortened(value: Any) -> Any:
    """The value as JSON has it; a longer text or list is cut."""
    if isinstance(value, str):
        return value if len(value) <= VALUE_CHARACTERS else f"{value[:VALUE_CHARACTERS]}…"
    if isinstance(value, list | tuple | set | frozenset):
        items = [shortened(item) for item in list(value)[: VALUE_CHARACTERS // 5]]
        return items if len(items) == len(value) else [*items, "…"]
    if value is None or isinstance(value, bool | int | float):
        return value
    return shortened(str(value))
