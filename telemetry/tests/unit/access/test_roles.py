"""A role is enough to sign in; an account without a role is told that it has none."""

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone

from devices.tests.fixtures import new_client
from realtime.access.credentials import Credential, revoked
from telemetry.console.sign_in import NO_ROLE

pytestmark = [pytest.mark.django_db, pytest.mark.once]

LOGIN, PASSWORD = "/admin/login/", "correct horse battery"


def account(*groups, **fields):
    user = User.objects.create_user("ada", password=PASSWORD, **fields)
    for name in groups:
        user.groups.add(Group.objects.get_or_create(name=name)[0])
    return user


def sign_in(password=PASSWORD, name="ada"):
    client = new_client()
    return client, client.post(LOGIN, {"username": name, "password": password, "next": "/live/"}, format="multipart")


@pytest.mark.parametrize(("group", "pages"), [("Operators", (200, 200, 200)), ("Viewers", (200, 200, 403))])
def test_a_member_of_a_role_signs_in_to_every_page_that_the_role_allows(device, group, pages):
    account(group)

    client, answer = sign_in()

    assert (answer.status_code, answer["Location"]) == (302, "/live/")
    assert tuple(client.get(path).status_code for path in ("/live/", "/admin/", "/admin/devices/device/add/")) == pages
    assert client.get("/api/v1/devices").status_code == 200
    assert b'href="/admin/devices/device/"' in client.get("/guide").content


@pytest.mark.parametrize("fields", [{"is_superuser": True}, {"is_staff": True}])
def test_a_superuser_and_an_account_with_staff_status_need_no_group(fields):
    account(**fields)

    client, answer = sign_in()

    assert answer.status_code == 302
    assert client.get("/admin/").status_code == 200


def test_an_account_without_a_role_is_told_so_and_whom_to_ask():
    account()

    client, answer = sign_in()

    assert answer.status_code == 200
    assert NO_ROLE in answer.content.decode()
    assert client.get("/admin/").status_code == 302


@pytest.mark.parametrize(
    ("password", "fields", "groups"),
    [("wrong", {}, ()), ("wrong", {}, ("Viewers",)), (PASSWORD, {"is_active": False}, ("Operators",))],
)
def test_nobody_else_learns_whether_an_account_has_a_role(password, fields, groups):
    """A deactivated account gets the answer to a wrong password too."""
    account(*groups, **fields)

    text = sign_in(password)[1].content.decode()

    assert (
        text.split("errornote")[1].split("</p>")[0]
        == sign_in(name="nobody")[1].content.decode().split("errornote")[1].split("</p>")[0]
    )
    assert "role" not in text


def test_who_leaves_the_last_group_is_signed_out_of_pages_api_and_sockets(device):
    user = account("Operators")
    client, _ = sign_in()
    socket = Credential(session_key=client.cookies["sessionid"].value)
    assert revoked([socket], now=timezone.now()) == set()

    user.user_permissions.set(Group.objects.get(name="Operators").permissions.all())
    user.groups.clear()

    assert client.get("/live/").status_code == 302
    assert client.get("/admin/").status_code == 302
    assert client.get("/api/v1/devices").status_code == 403
    assert revoked([socket], now=timezone.now()) == {socket}


def test_the_form_of_an_account_says_that_a_role_is_enough(admin_client):
    page = admin_client.get(f"/admin/auth/user/{account().pk}/change/").content.decode()

    assert "One role is enough to sign in" in page
    assert "Lets the account sign in without a role" in page
