"""`/channels`: create, list, change and delete channels. Tokens and secrets are never shown again."""

import base64
import logging

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from devices.tests.fixtures import problem
from readings.alarms.delivery.channels import CHANNELS_MAX
from readings.alarms.models import Channel, Delivery, Message
from readings.alarms.tests.delivery.channels import channel
from readings.alarms.tests.rules import make_rule
from readings.tests.logs import NOON

pytestmark = pytest.mark.django_db

CHANNELS = "/api/v1/channels"
HOOK = {"name": "Desk", "kind": "webhook", "target": "https://example.org/hooks/token-of-this-hook?key=another-token"}


def create(admin, **given):
    response = admin.post(CHANNELS, given)
    assert response.status_code == 201, response.content
    return response.json()


def test_a_webhook_gets_a_secret_that_is_shown_once(admin, caplog):
    caplog.set_level(logging.DEBUG)
    made = create(admin, **HOOK)

    secret = made.pop("secret")
    assert made == {
        "id": made["id"],
        "name": "Desk",
        "kind": "webhook",
        "target": "https://example.org/…",
        "created_at": made["created_at"],
    }
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert admin.get(CHANNELS).json() == {"results": [made], "next": None}
    renamed = admin.patch(f"{CHANNELS}/{made['id']}", {"name": "Attic"}).json()
    assert renamed == made | {"name": "Attic", "secret": None}
    seen = caplog.text + str([(entry.object_repr, entry.change_message) for entry in LogEntry.objects.all()])
    assert "token" not in seen
    assert secret not in seen


def test_a_new_secret_replaces_the_old_one(admin):
    made = create(admin, **HOOK)
    address = f"{CHANNELS}/{made['id']}"

    changed = admin.patch(address, {"new_secret": True}).json()

    assert changed["secret"].startswith("whsec_")
    assert changed["secret"] != made["secret"]
    assert Channel.objects.get().secret == changed["secret"]
    assert LogEntry.objects.latest("id").get_change_message() == "Changed Secret."


def test_an_e_mail_address_is_shown_and_has_no_secret(admin):
    made = create(admin, name="Ada", kind="email", target="ada@example.org")

    assert (made["target"], made["secret"]) == ("ada@example.org", None)
    assert (
        problem(admin.patch(f"{CHANNELS}/{made['id']}", {"new_secret": True}), 422)["errors"][0]["code"] == "no_secret"
    )


@pytest.mark.once
def test_of_an_apprise_url_only_the_service_is_shown(admin):
    token = "123456789:abcdefg_hijklmnopABCDEFGH1234567890"
    made = create(admin, name="Chat", kind="apprise", target=f"tgram://{token}/98765")

    assert made["target"] == "tgram://… (Telegram)"
    assert Channel.objects.get().target == f"tgram://{token}/98765"


@pytest.mark.once
@pytest.mark.parametrize(
    ("given", "field", "code"),
    [
        ({"target": "ftp://example.org/"}, "target", "invalid_address"),
        ({"target": "example.org"}, "target", "invalid_address"),
        ({"target": "https://"}, "target", "invalid_address"),
        ({"target": "https://example.org:0/"}, "target", "invalid_address"),
        ({"target": "https://example.org:99999/"}, "target", "invalid_address"),
        ({"target": "https://example.org/a b"}, "target", "invalid_address"),
        ({"target": "https://exa\nmple.org/"}, "target", "invalid_address"),
        ({"target": "https://ada:secret@example.org/"}, "target", "user_in_address"),
        ({"target": "https://example.org/" + "x" * 2_000}, "target", "max_length"),
        ({"target": "\x00"}, "target", "null_characters_not_allowed"),
        ({"target": ""}, "target", "blank"),
        ({"target": None}, "target", "null"),
        ({"target": 5}, "target", "invalid"),
        ({"kind": "email"}, "target", "invalid_email"),
        ({"kind": "email", "target": "ada@example.org\nBcc: eve@example.org"}, "target", "invalid_email"),
        ({"kind": "email", "target": "ada@example.org, eve@example.org"}, "target", "invalid_email"),
        ({"kind": "pigeon"}, "kind", "invalid_choice"),
        ({"name": ""}, "name", "blank"),
        ({"name": "x" * 101}, "name", "max_length"),
        ({"secret": "whsec_x"}, "secret", "unknown_field"),
    ],
)
def test_what_is_wrong_names_its_field_and_nothing_is_stored(admin, given, field, code):
    errors = problem(admin.post(CHANNELS, HOOK | given), 422)["errors"]

    assert (field, code) in [(error["field"], error["code"]) for error in errors]
    assert not Channel.objects.exists()


@pytest.mark.once
@pytest.mark.parametrize("target", ["nope://x", "dbus://", "no url", "syslog://"])
def test_an_apprise_url_that_is_none_is_refused_without_being_shown(admin, target):
    refused = problem(admin.post(CHANNELS, HOOK | {"kind": "apprise", "target": target}), 422)

    assert refused["errors"][0]["code"] == "invalid_apprise_url"
    assert target not in str(refused)


def test_the_kind_stays_and_another_target_is_checked(admin):
    made = create(admin, **HOOK)
    address = f"{CHANNELS}/{made['id']}"

    assert problem(admin.patch(address, {"kind": "email"}), 422)["errors"][0]["code"] == "kind_fixed"
    assert problem(admin.patch(address, {"target": "x"}), 422)["errors"][0]["code"] == "invalid_address"
    # What the list shows is no address, so that sending it back cannot replace the target.
    assert problem(admin.patch(address, {"target": made["target"]}), 422)["errors"][0]["code"] == "hidden_target"
    assert admin.patch(address, {"target": "http://10.0.0.7:8123"}).json()["target"] == "http://10.0.0.7:8123/"
    assert LogEntry.objects.latest("id").get_change_message() == "Changed Target."


def test_a_deleted_channel_leaves_its_rules_and_says_what_it_drops(admin):
    desk = channel()
    rule = make_rule(metric="temperature", above=30, channels=[desk.pk])
    now = timezone.now()
    for state in ("waiting", "waiting", "delivered"):
        message = Message.objects.create(
            rule=rule, type="alarm.opened", created_at=NOON, release_at=NOON, released_at=NOON, first=True
        )
        Delivery.objects.create(message=message, channel=desk, state=state, next_try_at=now)

    assert admin.delete(f"{CHANNELS}/{desk.pk}").json() == {"dropped": 2}

    assert admin.get(f"/api/v1/alarm-rules/{rule.pk}").json()["channels"] == []
    assert not Delivery.objects.exists()
    problem(admin.delete(f"{CHANNELS}/{desk.pk}"), 404)


def test_their_number_is_bounded(admin):
    Channel.objects.bulk_create([Channel(name="x", kind="email", created_at=NOON) for _ in range(CHANNELS_MAX)])

    assert problem(admin.post(CHANNELS, HOOK), 422)["errors"][0]["code"] == "too_many_channels"


@pytest.mark.parametrize("count", [1, 9])
def test_the_list_takes_one_query(admin, django_assert_num_queries, count):
    Channel.objects.bulk_create([Channel(name="x", kind="email", created_at=NOON) for _ in range(count)])

    with django_assert_num_queries(1):
        assert len(admin.get(CHANNELS).json()["results"]) == count
