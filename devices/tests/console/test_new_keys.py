"""The page of new keys: a reload shows them again, for ten minutes and only in the browser that made them."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.utils import timezone

from devices.access.rotation import fingerprint
from devices.console import new_keys
from devices.models import Device
from devices.tests.fixtures import new_client, staff_client

pytestmark = [pytest.mark.django_db, pytest.mark.once]

LIST = "/admin/devices/device/"
MAY = ("devices.view_device", "devices.add_device", "devices.change_device")


@pytest.fixture
def operator(db):
    return staff_client("operator", *MAY)


def add(client, device_id="mote-7"):
    return client.post(f"{LIST}add/", {"device_id": device_id, "name": ""}, format="multipart")


def rotate(client, device):
    sent = {"overlap": "0", "replaced": fingerprint([device])}
    return client.post(f"{LIST}{device.pk}/rotate-key/", sent, format="multipart")


def rotate_many(client, *devices):
    chosen = {"action": "rotate", "_selected_action": [str(device.pk) for device in devices]}
    sent = {"overlap": "0", "replaced": fingerprint(devices)}
    return client.post(LIST, chosen | sent, format="multipart")


def keys_on(response):
    assert response.status_code == 200
    return set(re.findall(r"tlm_[\w-]{32}", response.content.decode()))


def gone(response):
    assert (response.status_code, keys_in_text(response)) == (410, [])
    return "Rotate key" in response.content.decode()


def keys_in_text(response):
    return re.findall(r"tlm_[\w-]{32}", response.content.decode())


@pytest.mark.parametrize("way", ["add", "rotate", "rotate_many"])
def test_a_reload_shows_the_same_keys_and_changes_nothing(operator, device, other_device, way):
    both = (device, other_device[0])
    answer = {"add": add, "rotate": rotate, "rotate_many": rotate_many}[way](
        operator, *{"add": (), "rotate": both[:1], "rotate_many": both}[way]
    )
    assert answer.status_code == 303
    stored = list(Device.objects.order_by("pk").values_list())

    first, again = (operator.get(answer["Location"]) for _ in range(2))

    assert keys_on(first) == keys_on(again)
    assert len(keys_on(first)) == (2 if way == "rotate_many" else 1)
    assert all(Device.objects.for_key(key, now=timezone.now()) for key in keys_on(first))
    assert "no-store" in first["Cache-Control"]
    assert "for 10 minutes" in first.content.decode()
    assert list(Device.objects.order_by("pk").values_list()) == stored


def test_the_database_has_no_key_and_no_device_id_in_the_session(operator):
    answer = add(operator)
    (key,) = keys_on(operator.get(answer["Location"]))

    session = Session.objects.get()
    assert key not in session.session_data
    assert key not in str(session.get_decoded())
    assert "mote-7" not in str(session.get_decoded())
    assert answer.cookies[new_keys.COOKIE].value not in str(session.get_decoded())
    assert key not in answer["Location"]


def test_the_cookie_is_for_this_page_alone_and_short_lived(operator, settings):
    settings.SESSION_COOKIE_SECURE = True
    answer = add(operator)
    cookie = answer.cookies[new_keys.COOKIE]

    assert cookie["path"] == answer["Location"]
    assert (cookie["max-age"], cookie["httponly"], cookie["secure"]) == (600, True, True)
    assert cookie["samesite"] == "Strict"


@pytest.mark.parametrize(("seconds", "shown"), [(-5, True), (599, True), (602, False), (86_400, False)])
def test_the_keys_are_shown_for_ten_minutes(operator, monkeypatch, seconds, shown):
    answer = add(operator)
    later = timezone.now() + timedelta(seconds=seconds)

    with monkeypatch.context() as patched:
        patched.setattr(timezone, "now", lambda: later)
        response = operator.get(answer["Location"])

    assert bool(keys_in_text(response)) is shown
    if not shown:
        assert gone(response)


def test_another_browser_account_or_page_does_not_show_them(operator):
    page = add(operator)["Location"]
    secret = operator.cookies[new_keys.COOKIE].value
    same_account = new_client()
    same_account.force_login(User.objects.get(username="operator"))
    colleague = staff_client("colleague", *MAY)
    for client in (same_account, colleague):
        client.cookies[new_keys.COOKIE] = secret
        assert gone(client.get(page))
    assert new_client().get(page).status_code == 302

    for wrong in ("", "x", secret[:-2], "é", "A" * 43 + "="):
        operator.cookies[new_keys.COOKIE] = wrong
        assert gone(operator.get(page))
    operator.cookies[new_keys.COOKIE] = secret
    assert gone(operator.get(f"{LIST}new-keys/nothing/"))
    assert len(keys_on(operator.get(page))) == 1


def test_who_may_no_longer_change_devices_is_refused(operator):
    page = add(operator)["Location"]
    User.objects.get(username="operator").user_permissions.clear()

    assert operator.get(page).status_code == 403


def test_several_pages_are_shown_side_by_side(operator):
    pages = []
    for n in range(3):
        answer = add(operator, f"mote-{n}")
        pages.append((answer["Location"], answer.cookies[new_keys.COOKIE].value))

    shown = []
    for page, secret in pages:
        operator.cookies[new_keys.COOKIE] = secret  # a browser has one for each page's path
        shown += keys_on(operator.get(page))

    assert len(set(shown)) == 3


def test_a_session_keeps_a_bounded_number_of_pages(operator, monkeypatch):
    monkeypatch.setattr(new_keys, "PAGES_KEPT", 2)
    pages = [add(operator, f"mote-{n}")["Location"] for n in range(4)]

    kept = operator.session[new_keys.IN_SESSION]
    assert [entry[0] for entry in kept] == [page.split("/")[-2] for page in pages[-2:]]
    later = timezone.now() + timedelta(hours=1)
    monkeypatch.setattr(timezone, "now", lambda: later)
    add(operator, "mote-9")
    assert len(operator.session[new_keys.IN_SESSION]) == 1


def test_a_session_keeps_a_bounded_number_of_characters_but_the_last_page_always(operator, monkeypatch):
    add(operator, "mote-0")
    size = len(operator.session[new_keys.IN_SESSION][0][2])
    for bound, number in ((2 * size + 1, 2), (1, 1)):
        monkeypatch.setattr(new_keys, "CHARACTERS_KEPT", bound)
        pages = [add(operator, f"mote-{number}{n}")["Location"] for n in range(3)]

        kept = operator.session[new_keys.IN_SESSION]
        assert [entry[0] for entry in kept] == [page.split("/")[-2] for page in pages[-number:]]


def test_where_the_session_has_ended_no_device_is_added(operator, monkeypatch):
    """Signed out in another tab while the form was under way."""
    register = Device.objects.register

    def sign_out_first(**given):
        Session.objects.all().delete()
        return register(**given)

    monkeypatch.setattr(type(Device.objects), "register", lambda self, **given: sign_out_first(**given))

    assert add(operator).status_code == 400
    assert not Device.objects.exists()


def test_an_erased_device_has_no_page(operator, device):
    page = rotate(operator, device)["Location"]
    device.state.delete()
    device.delete()

    assert operator.get(page).status_code == 404
