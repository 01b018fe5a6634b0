"""Keys and clients for the tests of all packages. The fixtures made of them are in the root `conftest.py`."""

from collections.abc import Sequence
from functools import cache
from typing import Any
from zlib import crc32

from django.contrib.auth.models import Permission, User
from django.test.client import ClientHandler
from django.utils import timezone
from rest_framework.test import APIClient

from devices.access.callers import Caller, Role
from devices.changes.log import API_KEY, Author, service_account
from devices.changes.models import Via
from devices.tokens.making import create_token
from devices.tokens.scopes import Scope

ADMIN_KEY = "admin-key-of-the-tests-0123456789"
# Who sees every device.
EVERYTHING = Caller(role=Role.ADMIN)
FLEET_KEY = "fleet-key-of-the-tests-0123456789"


def shard_of(device_id: str) -> int:
    """The shard of a device in the pretended map of the fixture `five_shards`."""
    return crc32(device_id.encode()) % 5


@cache
def middleware_chain() -> Any:
    """The middleware, built once for all clients, because its search for static files takes 25 ms."""
    handler = ClientHandler()
    handler.load_middleware()
    return handler._middleware_chain  # type: ignore[attr-defined]


def new_client(*, enforce_csrf: bool = False) -> APIClient:
    client = APIClient(raise_request_exception=False, enforce_csrf_checks=enforce_csrf)
    client.handler._middleware_chain = middleware_chain()  # type: ignore[attr-defined]
    return client


def client_with(key: str | None) -> APIClient:
    """A client that sends this key with every request."""
    client = new_client()
    if key is not None:
        client.credentials(HTTP_X_API_KEY=key)
    return client


def staff_client(username: str, *permissions: str, enforce_csrf: bool = False) -> APIClient:
    """A client with the session of a staff account with these permissions ("devices.view_device")."""
    user = User.objects.create_user(username, password="correct horse battery", is_staff=True)
    for permission in permissions:
        app, codename = permission.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    client = new_client(enforce_csrf=enforce_csrf)
    client.force_login(user)
    return client


def token_client(*scopes: str, tags: Sequence[str] = (), name: str = "token") -> APIClient:
    """A client with such an API token."""
    return client_with(new_token(*scopes, tags=tags, name=name))


def new_token(*scopes: str, tags: Sequence[str] = (), name: str = "token") -> str:
    """An API token with these scopes, limited to these tags, which must exist, if there are any."""
    by = Author(service_account(API_KEY), API_KEY, Via.API_KEY)
    chosen = [Scope(scope) for scope in scopes]
    _, token = create_token(name=name, scopes=chosen, tags=tags, now=timezone.now(), by=by)
    return token


def problem(response: Any, status: int) -> dict[str, Any]:
    """Asserts that the response is a complete problem document with this status; returns it."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert document.keys() >= {"type", "title", "detail", "code", "request_id"}
    assert document["request_id"] == response["X-Request-ID"]
    return document
