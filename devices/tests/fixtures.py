"""Fixtures for the tests of all apps; the `conftest.py` of each app imports them."""

from functools import cache
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import Permission, User
from django.test.client import ClientHandler
from pytest_django import Settings
from rest_framework.test import APIClient

from devices.models import Device

ADMIN_KEY = "admin-key-of-the-tests-0123456789"
FLEET_KEY = "fleet-key-of-the-tests-0123456789"

# Set permanently, not in a fixture, because Django raises an error on access to an empty SECRET_KEY.
django_settings.SECRET_KEY = "secret-key-of-the-tests-0123456789-0123456789"


@pytest.fixture(autouse=True)
def configuration(settings: Settings) -> None:
    """The settings of all tests, independent of the developer's `.env`."""
    settings.API_SECRET_KEY = ADMIN_KEY
    settings.DEVICE_API_KEYS = [FLEET_KEY]
    settings.ALLOWED_ORIGINS = ["https://app.example.org"]
    settings.ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
    settings.DEFAULT_REPORT_INTERVAL = 60
    settings.DEVICE_RATE_LIMIT = ""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


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


@pytest.fixture
def anyone() -> APIClient:
    return client_with(None)


@pytest.fixture
def admin() -> APIClient:
    return client_with(ADMIN_KEY)


@pytest.fixture
def fleet() -> APIClient:
    return client_with(FLEET_KEY)


@pytest.fixture
def mote(db: None) -> tuple[Device, str]:
    """A registered device and its key."""
    return Device.objects.register(device_id="mote-1", name="North window")


@pytest.fixture
def device(mote: tuple[Device, str]) -> Device:
    return mote[0]


@pytest.fixture
def as_device(mote: tuple[Device, str]) -> APIClient:
    """A client with the key of `device`."""
    return client_with(mote[1])


@pytest.fixture
def other_device(db: None) -> tuple[Device, str]:
    """Another registered device and its key."""
    return Device.objects.register(device_id="mote-2")


@pytest.fixture
def as_other_device(other_device: tuple[Device, str]) -> APIClient:
    return client_with(other_device[1])


def staff_client(username: str, *permissions: str, enforce_csrf: bool = False) -> APIClient:
    """A client with the session of a staff account with these permissions ("devices.view_device")."""
    user = User.objects.create_user(username, password="correct horse battery", is_staff=True)
    for permission in permissions:
        app, codename = permission.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    client = new_client(enforce_csrf=enforce_csrf)
    client.force_login(user)
    return client


@pytest.fixture
def staff_without_permission(db: None) -> APIClient:
    return staff_client("newcomer")


def problem(response: Any, status: int) -> dict[str, Any]:
    """Asserts that the response is a complete problem document with this status; returns it."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert document.keys() >= {"type", "title", "detail", "code", "request_id"}
    assert document["request_id"] == response["X-Request-ID"]
    return document
