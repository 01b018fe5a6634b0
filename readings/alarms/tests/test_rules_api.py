"""`/alarm-rules`: create, look up, change and delete rules."""

import pytest
from django.contrib.admin.models import LogEntry

from devices.changes.log import API_KEY
from devices.tests.fixtures import problem
from readings.alarms.models import Alarm, Rule
from readings.alarms.parameters import condition_of
from readings.alarms.rules.changing import RULES_MAX
from readings.alarms.tests.delivery.channels import channel
from readings.alarms.tests.rules import alarm_of, evaluate, make_rule
from readings.tests.logs import NOON, at, new, store

pytestmark = pytest.mark.django_db

RULES = "/api/v1/alarm-rules"
HOT = {"name": "Hot", "kind": "threshold", "metric": "temperature", "above": 30}
NOTHING = dict.fromkeys(
    ("metric", "above", "below", "for", "clear_margin", "clear_for", "seconds", "tolerance", "change", "per")
)


def create(admin, **given):
    response = admin.post(RULES, given)
    assert response.status_code == 201, response.content
    return response.json()


def test_a_rule_is_created_with_its_defaults(admin, db):
    document = create(admin, **HOT)

    created_at = document.pop("created_at")
    assert created_at.endswith("Z")
    assert document == NOTHING | {
        "id": document["id"],
        "name": "Hot",
        "kind": "threshold",
        "severity": "warning",
        "metric": "temperature",
        "above": 30.0,
        "for": 0,
        "clear_margin": 0.0,
        "clear_for": 0,
        "devices": [],
        "tags": [],
        "channels": [],
        "repeat": None,
        "muted_until": None,
        "text": "",
        "is_active": True,
    }
    assert admin.get(f"{RULES}/{document['id']}").json() == document | {"created_at": created_at}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"kind": "silence"}, {}),
        ({"kind": "silence", "seconds": 600, "metric": "humidity"}, {"seconds": 600, "metric": "humidity"}),
        ({"kind": "stuck", "metric": "co2", "seconds": 60}, {"metric": "co2", "seconds": 60, "tolerance": 0}),
        (
            {"kind": "rate", "metric": "co2", "change": 5, "per": 60, "clear_for": 9},
            {"metric": "co2", "change": 5, "per": 60, "clear_for": 9},
        ),
        (
            {
                "kind": "threshold",
                "metric": "co2",
                "above": 5,
                "below": -5,
                "for": 600,
                "clear_margin": 1,
                "clear_for": 60,
            },
            {"metric": "co2", "above": 5, "below": -5, "for": 600, "clear_margin": 1, "clear_for": 60},
        ),
    ],
)
def test_every_kind_keeps_its_parameters_and_can_be_sent_back(admin, db, given, kept):
    document = create(admin, name="Rule", severity="critical", text="Call Ada.", is_active=False, **given)

    assert {name: document[name] for name in NOTHING} == NOTHING | kept
    assert condition_of(Rule.objects.get(pk=document["id"])) is not None
    back = {name: value for name, value in document.items() if name not in ("id", "created_at")}
    assert admin.patch(f"{RULES}/{document['id']}", back).json() == document


def test_it_names_devices_in_the_order_of_their_ids(admin, mote, other_device):
    assert create(admin, **HOT, devices=["mote-2", "mote-1", "mote-2"])["devices"] == ["mote-1", "mote-2"]


@pytest.mark.once
@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"above": None}, "above", "no_bound"),
        ({"below": 30}, "above", "bounds_crossed"),
        ({"below": 31}, "above", "bounds_crossed"),
        ({"below": 28, "clear_margin": 1.5}, "clear_margin", "margin_too_large"),
        ({"metric": None}, "metric", "parameter_missing"),
        ({"seconds": 60}, "seconds", "parameter_of_another_kind"),
        ({"change": 0}, "change", "parameter_of_another_kind"),
        ({"kind": "silence", "metric": None}, "above", "parameter_of_another_kind"),
        ({"kind": "stuck", "above": None}, "seconds", "parameter_missing"),
        ({"kind": "smell"}, "kind", "invalid_choice"),
        ({"kind": None}, "kind", "null"),
        ({"severity": "bad"}, "severity", "invalid_choice"),
        ({"name": ""}, "name", "blank"),
        ({"text": "\x00"}, "text", "null_characters_not_allowed"),
        ({"devices": ["\x00"]}, "devices.0", "null_characters_not_allowed"),
        ({"name": "x" * 101}, "name", "max_length"),
        ({"metric": "Temperature"}, "metric", "invalid_name"),
        ({"metric": "seq"}, "metric", "reserved_name"),
        ({"metric": 5}, "metric", "invalid"),
        ({"above": "30"}, "above", "invalid"),
        ({"above": True}, "above", "invalid"),
        ({"above": 1e301}, "above", "max_value"),
        ({"clear_margin": -1}, "clear_margin", "min_value"),
        ({"for": -1}, "for", "min_value"),
        ({"for": 1.5}, "for", "invalid"),
        ({"for": 31 * 86_400 + 1}, "for", "max_value"),
        ({"devices": ["nobody-1"]}, "devices", "unknown_device"),
        ({"devices": ["mote 1"]}, "devices.0", "invalid_device_id"),
        ({"devices": "mote-1"}, "devices", "not_a_list"),
        ({"is_active": "yes"}, "is_active", "invalid"),
        ({"tags": ["roof"]}, "tags", "unknown_tag"),
        ({"tags": "roof"}, "tags", "not_a_list"),
        ({"channels": [1]}, "channels", "unknown_channel"),
        ({"channels": ["1"]}, "channels.0", "invalid"),
        ({"channels": None}, "channels", "null"),
        ({"repeat": 59}, "repeat", "min_value"),
        ({"repeat": 31 * 86_400 + 1}, "repeat", "max_value"),
        ({"muted_until": "tomorrow"}, "muted_until", "invalid_time"),
        ({"muted_until": 5}, "muted_until", "invalid"),
        ({"id": 5}, "id", "unknown_field"),
    ],
)
def test_a_contradiction_names_its_field(admin, db, changes, field, code):
    before = Rule.objects.count()
    errors = problem(admin.post(RULES, HOT | changes), 422)["errors"]

    assert (field, code) in [(error["field"], error["code"]) for error in errors]
    assert Rule.objects.count() == before


@pytest.mark.once
@pytest.mark.parametrize("body", [[], "x", 5, {"name": "x"}, {}])
def test_what_is_no_rule_is_refused(admin, db, body):
    problem(admin.post(RULES, body), 422)


def test_a_value_beyond_a_double_is_refused(admin, db):
    body = b'{"name": "x", "kind": "threshold", "metric": "x", "above": 1e999}'

    problem(admin.generic("POST", RULES, body, content_type="application/json"), 422)


def test_a_change_keeps_what_is_not_sent_and_null_is_the_default(admin, device):
    rule = create(admin, **HOT, **{"for": 600}, devices=["mote-1"])
    address = f"{RULES}/{rule['id']}"

    assert admin.patch(address, {"above": 40}).json() == rule | {"above": 40.0}
    assert admin.patch(address, {"for": None}).json() == rule | {"above": 40.0, "for": 0}
    assert admin.patch(address, {"above": None, "below": 5}).json()["above"] is None
    assert admin.patch(address, {"devices": []}).json()["devices"] == []
    assert problem(admin.patch(address, {"below": None}), 422)["errors"][0]["code"] == "no_bound"
    assert problem(admin.patch(address, {"kind": "stuck"}), 422)["errors"][0]["code"] == "kind_fixed"
    assert admin.patch(address, {"kind": "threshold", "name": "Cold"}).json()["name"] == "Cold"


def test_it_keeps_its_channels_its_repetition_and_its_mute(admin, db):
    first, second = channel(name="Desk"), channel(name="Attic")
    given = {"channels": [second.pk, first.pk, first.pk], "repeat": 3600, "muted_until": "2030-05-09T10:00:00Z"}
    document = create(admin, **HOT, **given)
    address = f"{RULES}/{document['id']}"

    kept = {"channels": [first.pk, second.pk], "repeat": 3600, "muted_until": "2030-05-09T10:00:00.000000Z"}
    assert document == document | kept
    assert admin.get(address).json() == document
    assert document in admin.get(RULES).json()["results"]
    assert admin.patch(address, {"name": "Warm"}).json() == document | {"name": "Warm"}
    changed = admin.patch(address, {"channels": [second.pk], "repeat": None, "muted_until": None}).json()
    assert [changed[name] for name in kept] == [[second.pk], None, None]
    messages = [entry.get_change_message() for entry in LogEntry.objects.order_by("id")]
    assert messages == ["Added.", "Changed Name.", "Changed Repeat, Muted until and Channels."]


def test_a_deleted_rule_is_gone_and_its_alarms_name_it(admin, device):
    rule = create(admin, **HOT)
    alarm_of("mote-1", rule=Rule.objects.get(pk=rule["id"]))
    address = f"{RULES}/{rule['id']}"

    assert admin.delete(address).status_code == 204
    for response in (admin.get(address), admin.patch(address, {}), admin.delete(address)):
        problem(response, 404)
    (alarm,) = admin.get("/api/v1/alarms?state=all").json()["results"]
    assert (alarm["rule"]["name"], alarm["state"], alarm["reason"]) == ("Hot", "resolved", "rule_deleted")
    assert rule["id"] not in [known["id"] for known in admin.get(RULES).json()["results"]]


@pytest.mark.once
@pytest.mark.parametrize("number", ["0", "01", "999999999999999999", "9" * 30, "x", "-1"])
def test_an_unknown_rule_is_not_found(admin, db, number):
    problem(admin.get(f"{RULES}/{number}"), 404)


@pytest.mark.parametrize("rules", [1, 9])
def test_the_list_has_all_rules_in_four_queries(admin, mote, other_device, django_assert_num_queries, rules):
    Rule.objects.all().delete()
    made = [make_rule(metric="temperature", above=n, devices=("mote-2", "mote-1")[: n % 3]) for n in range(rules)]

    with django_assert_num_queries(4):
        listed = admin.get(RULES).json()

    assert [rule["id"] for rule in listed["results"]] == [rule.pk for rule in made]
    assert [len(rule["devices"]) for rule in listed["results"]] == [n % 3 for n in range(rules)]
    assert listed["next"] is None


def test_their_number_is_bounded(admin, db):
    times = {"judged_since": NOON, "created_at": NOON}
    Rule.objects.bulk_create([Rule(name="x", kind="silence", **times) for _ in range(RULES_MAX)])

    assert problem(admin.post(RULES, HOT), 422)["errors"][0]["code"] == "too_many_rules"


def test_from_the_rule_to_its_alarm(admin, as_device):
    create(admin, **HOT, **{"for": 60})
    store([new(timestamp=at(seconds), temperature=31) for seconds in (0, 30, 60)])
    evaluate(at(61))

    (alarm,) = as_device.get("/api/v1/devices/mote-1/alarms").json()["results"]
    assert (alarm["began_at"], alarm["opened_at"]) == ("2026-05-09T12:00:00.000000Z", "2026-05-09T12:01:00.000000Z")
    assert Alarm.objects.count() == 1


def test_what_is_changed_of_a_rule_is_in_the_list_of_changes(admin, device):
    document = create(admin, **HOT)
    address = f"{RULES}/{document['id']}"
    admin.patch(address, {"above": 31, "name": "Hot", "devices": [device.device_id]})
    admin.patch(address, {"above": 31})
    admin.delete(address)

    assert [
        (entry.user.username, entry.object_repr, entry.get_change_message())
        for entry in LogEntry.objects.order_by("id")
    ] == [
        (API_KEY, "Hot", "Added."),
        (API_KEY, "Hot", "Changed Above and Devices."),
        (API_KEY, "Hot", ""),
    ]
