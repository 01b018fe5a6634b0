"""Channels and messages in the console."""

import re

import pytest
from django.contrib.admin.models import LogEntry

from devices.tests.fixtures import staff_client
from readings.alarms.models import Channel
from readings.alarms.tests.delivery.channels import channel, delivery
from readings.alarms.tests.delivery.receivers import hook_channel

pytestmark = pytest.mark.django_db

CHANNELS = "/admin/alarms/channel/"
HOOK = {"name": "Desk", "kind": "webhook", "target": "http://127.0.0.1:9/hooks/token-of-ours"}


@pytest.fixture
def operator(db):
    return staff_client("operator", "alarms.manage_rules")


def text(client, address, **more):
    response = client.get(address, **more)
    assert response.status_code == 200, response.content
    return response.content.decode()


def form(client, address, given):
    return client.post(address, given, format="multipart")


def test_without_a_channel_the_page_says_how_to_get_the_first_message(operator):
    assert "Send a test" in text(operator, CHANNELS)
    assert "EMAIL_URL" in text(operator, CHANNELS)


def test_a_webhook_that_is_added_shows_its_secret_once_and_never_its_token(operator):
    added = form(operator, f"{CHANNELS}add/", HOOK)
    assert added.status_code == 303, added.content
    page = text(operator, added["Location"])
    made = Channel.objects.get()
    assert made.secret in page
    assert (made.name, made.target) == ("Desk", HOOK["target"])
    change = text(operator, f"{CHANNELS}{made.pk}/change/")
    for shown in (text(operator, CHANNELS), change, str(LogEntry.objects.values())):
        assert made.secret not in shown
        assert "token-of-ours" not in shown
    assert "http://127.0.0.1:9/…" in change


def test_an_empty_target_keeps_it_and_another_replaces_it(operator):
    made = channel(**HOOK)
    address = f"{CHANNELS}{made.pk}/change/"
    assert form(operator, address, {"name": "Attic", "target": ""}).status_code == 302
    made.refresh_from_db()
    assert (made.name, made.target) == ("Attic", HOOK["target"])
    assert form(operator, address, {"name": "Attic", "target": "http://127.0.0.1:9/other"}).status_code == 302
    made.refresh_from_db()
    assert made.target.endswith("/other")
    assert [entry.get_change_message() for entry in LogEntry.objects.order_by("id")] == [
        "Changed Name.",
        "Changed New target.",
    ]


def test_a_wrong_target_is_said_at_its_field(operator):
    page = form(operator, f"{CHANNELS}add/", HOOK | {"target": "nowhere"})

    assert "The address must begin with http:// or https://" in page.content.decode()
    assert not Channel.objects.exists()


def test_a_test_shows_the_answer_of_the_receiver(operator):
    with hook_channel() as (hook, made):
        for status, words in ((204, "was delivered. The receiver answered 204"), (500, "was not delivered")):
            hook.answer = lambda _, status=status: status
            response = operator.post(f"{CHANNELS}{made.pk}/test/")
            assert words in text(operator, response["Location"])


def test_a_new_secret_is_shown_once(operator):
    made = channel(**HOOK)
    response = operator.post(f"{CHANNELS}{made.pk}/new-secret/")

    assert Channel.objects.get().secret != made.secret
    assert Channel.objects.get().secret in text(operator, response["Location"])
    assert LogEntry.objects.get().get_change_message() == "Changed Secret."


def test_a_channel_is_deleted_and_it_says_what_it_dropped(operator):
    made = channel(**HOOK)
    delivery()
    page = operator.post(f"{CHANNELS}{made.pk}/delete/", {"post": "yes"}, format="multipart", follow=True)

    assert "1 message that waited for it dropped" in page.content.decode()
    assert not Channel.objects.exists()


def test_the_outbox_shows_what_was_given_up_and_why(operator):
    delivery(state="given_up", error="The receiver did not answer in time.", tries=27)
    page = text(operator, "/admin/alarms/delivery/")

    assert "The receiver did not answer in time." in page
    assert re.search(r"Given Up|given_up", page)


@pytest.mark.parametrize("address", [CHANNELS, "/admin/alarms/delivery/"])
def test_the_lists_take_the_same_number_of_queries_with_more_rows(operator, address, django_assert_max_num_queries):
    for n in range(12):
        delivery(channel=channel(name=f"channel {n}"))
    with django_assert_max_num_queries(10):
        operator.get(address)


def test_without_the_permission_nothing_can_be_tested_or_changed(db):
    made = channel(**HOOK)
    client = staff_client("newcomer", "alarms.acknowledge_alarm")
    for path in (f"{made.pk}/test/", f"{made.pk}/new-secret/", f"{made.pk}/delete/", "add/"):
        assert client.post(f"{CHANNELS}{path}", HOOK, format="multipart").status_code == 403
    assert Channel.objects.get().secret == made.secret
