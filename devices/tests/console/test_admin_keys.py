"""Keys in the console: shown for some minutes on a page of their own, and stored nowhere in the clear."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from devices.access.rotation import fingerprint
from devices.models import Device, DeviceState
from devices.tests.fixtures import client_with, staff_client

pytestmark = [pytest.mark.django_db, pytest.mark.once]

ADD = "/admin/devices/device/add/"
FORM = {"device_id": "mote-7", "name": "Attic", "report_interval": ""}


@pytest.fixture
def operator(db):
    return staff_client(
        "operator", "devices.view_device", "devices.add_device", "devices.change_device", "readings.view_reading"
    )


def rotate_url(device):
    return f"/admin/devices/device/{device.pk}/rotate-key/"


def followed(client, response):
    """The page that the answer to a form leads to."""
    assert response.status_code == 303
    assert not re.search(r"tlm_[\w-]{32}", str(response.headers) + response.content.decode())
    return client.get(response["Location"])


def key_in(response):
    """The only key on a page."""
    assert response.status_code == 200, response.content
    (key,) = set(re.findall(r"tlm_[\w-]{32}", response.content.decode()))
    return key


def works(key):
    return client_with(key).post("/api/v1/ingest", {"temperature": 1}).status_code == 201


def kept_nowhere(client, key):
    """Neither the browser nor the server stores the key."""
    assert key not in str(dict(client.session))
    assert key not in str({name: morsel.value for name, morsel in client.cookies.items()})
    assert key not in str(list(LogEntry.objects.values()))
    assert key not in str(list(Device.objects.values()))
    pages = ["/admin/", "/admin/devices/device/"]
    for device in Device.objects.all():
        pages += [f"/admin/devices/device/{device.pk}/{page}/" for page in ("change", "history")]
    return all(key not in client.get(page).content.decode() for page in pages)


def test_adding_a_device_shows_its_key_in_the_answer(operator):
    response = followed(operator, operator.post(ADD, FORM, format="multipart"))
    key = key_in(response)
    assert "no-store" in response["Cache-Control"]
    assert works(key)
    device = Device.objects.get()
    assert (device.device_id, device.name, device.report_interval) == ("mote-7", "Attic", None)
    assert device.state.last_seq == 1


def test_the_key_of_an_added_device_is_kept_nowhere(operator):
    key = key_in(followed(operator, operator.post(ADD, FORM, format="multipart")))
    assert kept_nowhere(operator, key)
    assert LogEntry.objects.get().object_repr == "mote-7"


def test_the_page_says_how_to_use_the_key(operator):
    page = operator.post(ADD, FORM, format="multipart", follow=True).content.decode()
    assert "http://testserver/api/v1/ingest" in page
    assert "/live/mote-7/" in page


@pytest.mark.parametrize("button", ["_continue", "_addanother", "_popup"])
def test_whichever_button_saves_the_key_is_shown(operator, button):
    assert works(key_in(operator.post(ADD, FORM | {button: "1"}, format="multipart", follow=True)))


@pytest.mark.parametrize("wrong", ["", "-x", "a b", "m" * 65, "a\x00b", "mote-7\n\nx", "é"])
def test_a_device_id_that_is_none_is_refused(operator, wrong):
    response = operator.post(ADD, FORM | {"device_id": wrong}, format="multipart")
    assert response.status_code == 200
    assert "device_id" in response.context["adminform"].form.errors
    assert not Device.objects.exists()


def test_a_device_id_that_is_taken_is_refused(operator, device):
    response = operator.post(ADD, FORM | {"device_id": "mote-1"}, format="multipart")
    assert "device_id" in response.context["adminform"].form.errors
    assert Device.objects.count() == 1


def test_adding_takes_leave_to_add(device):
    viewer = staff_client("viewer", "devices.view_device", "devices.change_device")
    assert viewer.get(ADD).status_code == 403
    assert viewer.post(ADD, FORM, format="multipart").status_code == 403
    assert Device.objects.count() == 1


@pytest.mark.parametrize("seconds", [0, 3600, 86_400, 604_800])
def test_rotating_ends_the_old_key_after_the_chosen_overlap(operator, mote, seconds):
    device, old = mote
    before = timezone.now()
    answer = operator.post(
        rotate_url(device), {"overlap": seconds, "replaced": fingerprint([device])}, format="multipart"
    )
    after = timezone.now()
    response = followed(operator, answer)
    key = key_in(response)
    assert "no-store" in response["Cache-Control"]
    assert works(key)
    overlap = timedelta(seconds=seconds)
    assert (Device.objects.for_key(old, now=before + overlap - timedelta(seconds=1)) is not None) is bool(seconds)
    assert Device.objects.for_key(old, now=after + overlap) is None


def test_a_rotated_key_is_kept_nowhere_and_the_act_is_written_down(operator, device):
    key = key_in(
        operator.post(
            rotate_url(device), {"overlap": 0, "replaced": fingerprint([device])}, format="multipart", follow=True
        )
    )
    assert kept_nowhere(operator, key)
    entry = LogEntry.objects.get()
    assert (entry.object_repr, entry.change_message, entry.user.username) == (
        "mote-1",
        "Rotated the API key.",
        "operator",
    )


def test_the_page_of_a_rotated_key_waits_for_what_comes_after_the_log_as_it_is(operator, device):
    DeviceState.objects.filter(device=device).update(last_seq=1234)
    sent = {"overlap": 0, "replaced": fingerprint([device])}
    response = operator.post(rotate_url(device), sent, format="multipart", follow=True)
    assert 'data-last-seq="1234"' in response.content.decode()


def test_looking_at_the_rotation_page_rotates_nothing(operator, mote):
    device, key = mote
    page = operator.get(rotate_url(device)).content.decode()
    assert page.count('type="radio"') == 4
    assert rotate_url(device) in operator.get(f"/admin/devices/device/{device.pk}/change/").content.decode()
    assert works(key)


@pytest.mark.parametrize("overlap", ["", "x", "-1", "5", "999999999999"])
def test_an_overlap_that_is_not_offered_rotates_nothing(operator, mote, overlap):
    device, key = mote
    response = operator.post(
        rotate_url(device), {"overlap": overlap, "replaced": fingerprint([device])}, format="multipart"
    )
    assert response.status_code == 200
    assert not re.search(r"tlm_[\w-]{32}", response.content.decode())  # a complete key, not a hint
    assert works(key)


def test_an_empty_form_rotates_nothing_and_says_what_is_missing(operator, mote):
    device, key = mote
    response = operator.post(rotate_url(device), {"csrfmiddlewaretoken": "x"}, format="multipart")
    assert "This field is required" in response.content.decode()
    assert works(key)


def test_rotating_takes_leave_to_change_devices(mote, anyone):
    device, key = mote
    viewer = staff_client("viewer", "devices.view_device", "devices.add_device")
    assert viewer.get(rotate_url(device)).status_code == 403
    assert (
        viewer.post(
            rotate_url(device), {"overlap": 0, "replaced": fingerprint([device])}, format="multipart"
        ).status_code
        == 403
    )
    assert (
        anyone.post(
            rotate_url(device), {"overlap": 0, "replaced": fingerprint([device])}, format="multipart"
        ).status_code
        == 302
    )
    assert rotate_url(device) not in viewer.get(f"/admin/devices/device/{device.pk}/change/").content.decode()
    assert works(key)


def test_rotating_is_safe_from_other_sites_forms(mote):
    device, key = mote
    operator = staff_client("operator", "devices.change_device", enforce_csrf=True)
    assert (
        operator.post(
            rotate_url(device), {"overlap": 0, "replaced": fingerprint([device])}, format="multipart"
        ).status_code
        == 403
    )
    assert works(key)


def test_there_is_nothing_to_rotate_where_there_is_no_device(operator):
    assert operator.get("/admin/devices/device/00000000-0000-0000-0000-000000000000/rotate-key/").status_code == 404


def test_a_page_that_is_sent_again_does_not_rotate_again(operator, mote):
    device, _ = mote
    sent = {"overlap": 0, "replaced": fingerprint([device])}
    key = key_in(operator.post(rotate_url(device), sent, format="multipart", follow=True))

    again = operator.post(rotate_url(device), sent, format="multipart")

    assert "rotated already" in again.content.decode()
    assert Device.objects.for_key(key, now=timezone.now()) == device


def test_the_form_for_a_new_device_offers_no_way_past_its_key(operator):
    page = operator.get("/admin/devices/device/add/").content.decode()

    assert "_save" in page
    assert "_addanother" not in page
    assert "_continue" not in page


def test_an_earlier_key_that_still_works_is_shown_and_not_ended_unless_that_is_chosen(operator, mote):
    device, first = mote
    second = device.rotate_key(overlap=timedelta(hours=1), now=timezone.now())
    page = operator.get(rotate_url(device)).content.decode()
    assert f"works until {device.retiring_key_expires_at:%Y-%m-%d %H:%M} UTC" in page
    assert 'name="force"' in page

    sent = {"overlap": 3600, "replaced": fingerprint([device])}
    refused = operator.post(rotate_url(device), sent, format="multipart")
    assert refused.context["form"].errors.keys() == {"force"}
    assert not re.search(r"tlm_[\w-]{32}", refused.content.decode())
    assert [works(key) for key in (first, second)] == [True, True]

    third = key_in(operator.post(rotate_url(device), sent | {"force": "on"}, format="multipart", follow=True))
    now = timezone.now()
    assert [Device.objects.for_key(key, now=now) is not None for key in (first, second, third)] == [False, True, True]


def test_a_rotation_without_overlap_is_never_refused(operator, mote):
    device, first = mote
    second = device.rotate_key(overlap=timedelta(hours=1), now=timezone.now())
    sent = {"overlap": 0, "replaced": fingerprint([device])}
    third = key_in(operator.post(rotate_url(device), sent, format="multipart", follow=True))
    now = timezone.now()
    assert [Device.objects.for_key(key, now=now) is not None for key in (first, second, third)] == [False, False, True]


def test_where_no_earlier_key_works_the_page_asks_nothing_about_it(operator, device):
    assert 'name="force"' not in operator.get(rotate_url(device)).content.decode()
