"""Rules that name tags: they follow the tags of devices at once, and judge exactly what arrives from then on."""

from datetime import timedelta

import pytest
from django.core.management import call_command

from devices.models import Device, DeviceState, Tag
from devices.tags.tagging import add_tag
from devices.tests.fixtures import problem
from readings.alarms.evaluation import evaluator as evaluation
from readings.alarms.evaluation.evaluator import Evaluator
from readings.alarms.evaluation.steps import take_step
from readings.alarms.models import Alarm, EvaluationState, Reception, Rule, RuleDevice, RuleTag
from readings.alarms.tests.rules import announced, evaluate, make_rule
from readings.tests.logs import NOON, at, new, store

pytestmark = pytest.mark.django_db

DEVICES, RULES = "/api/v1/devices", "/api/v1/alarm-rules"
HOT = {"name": "Hot", "kind": "threshold", "metric": "temperature", "above": 30}


@pytest.fixture(autouse=True)
def no_other_rules(db):
    Rule.objects.all().delete()


@pytest.fixture
def devices(admin):
    """`a` with the tags north and roof, `b` with north, `c` without."""
    for device_id, tags in {"a": ["north", "roof"], "b": ["north"], "c": []}.items():
        assert admin.post(DEVICES, {"device_id": device_id, "tags": tags}).status_code == 201


def retag(admin, device_id, *tags):
    answer = admin.patch(f"{DEVICES}/{device_id}", {"tags": tags})
    assert answer.status_code == 200, answer.content


def measure(device_id, seconds, temperature):
    store([new(device_id, at(seconds), temperature=temperature)], received_at=at(seconds))


def open_alarms():
    return sorted(Alarm.objects.open().values_list("device_id", flat=True))


def applied(rule):
    return sorted(RuleDevice.objects.filter(rule=rule).values_list("device_id", flat=True))


def test_a_rule_judges_the_devices_with_all_of_its_tags(admin, devices):
    both, one = (
        make_rule(metric="temperature", above=30, tags=("Roof", "north")),
        make_rule(metric="temperature", above=30, tags=("north",)),
    )
    for device_id in "abc":
        measure(device_id, 1, 31)
    evaluate(at(2))

    found = {(alarm.rule_id, str(alarm.device_id)) for alarm in Alarm.objects.all()}
    assert found == {(both.pk, "a"), (one.pk, "a"), (one.pk, "b")}


def test_a_device_that_gets_the_last_tag_is_judged_from_then_on(admin, devices):
    rule = make_rule(metric="temperature", above=30, tags=("roof", "north"))
    evaluator = Evaluator()
    measure("b", 1, 35)
    evaluate(at(2), evaluator)
    measure("b", 3, 35)  # not judged yet by anything

    retag(admin, "b", "north", "roof")
    evaluate(at(4), evaluator)
    assert open_alarms() == []

    measure("b", 5, 36)
    evaluate(at(6), evaluator)
    (alarm,) = Alarm.objects.all()
    assert (alarm.rule_id, str(alarm.device_id), alarm.value) == (rule.pk, "b", 36)


def test_that_another_device_joins_skips_no_reading_of_a_member(admin, devices):
    make_rule(metric="temperature", above=30, tags=("north",))
    evaluate(at(1))
    measure("a", 2, 35)
    measure("a", 3, 20)

    retag(admin, "c", "north")
    evaluate(at(4))

    assert [(alarm.device_id, alarm.value, alarm.is_open) for alarm in Alarm.objects.all()] == [("a", 35, False)]


def test_a_device_that_loses_a_tag_ends_its_alarm_and_is_forgotten(admin, devices, django_capture_on_commit_callbacks):
    rule = make_rule(metric="temperature", above=30, tags=("north",))
    for device_id in "ab":
        measure(device_id, 1, 35)
    evaluate(at(2))
    assert open_alarms() == ["a", "b"]

    with announced() as changes, django_capture_on_commit_callbacks(execute=True):
        retag(admin, "a", "roof")

    assert open_alarms() == ["b"]
    ended = Alarm.objects.get(device_id="a")
    assert (ended.reason, ended.resolved_at is None) == ("rule_changed", False)
    assert [(change.event, change.device_id) for change in changes] == [("resolved", "a")]
    assert not EvaluationState.objects.filter(rule=rule, device_id="a").exists()
    measure("a", 3, 36)
    evaluate(at(4))
    assert open_alarms() == ["b"]

    retag(admin, "a", "north")
    evaluate(at(5))
    assert open_alarms() == ["b"]
    measure("a", 6, 37)
    evaluate(at(7))
    assert open_alarms() == ["a", "b"]


def test_an_alarm_of_a_device_that_keeps_the_tags_goes_on(admin, devices):
    make_rule(metric="temperature", above=30, tags=("north",))
    measure("a", 1, 35)
    evaluate(at(2))
    known = Alarm.objects.get()

    retag(admin, "a", "north", "cold")
    admin.patch("/api/v1/tags/north", {"name": "North side"})
    evaluate(at(3))

    assert (Alarm.objects.get().pk, Alarm.objects.get().is_open) == (known.pk, True)
    assert admin.get(f"{RULES}/{known.rule_id}").json()["tags"] == ["North side"]


def test_a_step_that_was_decided_before_the_change_is_taken_again(admin, devices, monkeypatch):
    make_rule(metric="temperature", above=30, tags=("north",))
    evaluator = Evaluator()
    evaluate(at(1), evaluator)
    measure("a", 2, 35)

    def step(*args, **given):
        monkeypatch.setattr(evaluation, "take_step", take_step)
        retag(admin, "a", "roof")
        return take_step(*args, **given)

    monkeypatch.setattr(evaluation, "take_step", step)
    assert evaluate(at(3), evaluator).unfinished
    assert open_alarms() == []
    evaluate(at(4), evaluator)
    assert open_alarms() == []


def test_many_devices_change_at_once_with_a_constant_number_of_queries(admin, devices, django_assert_max_num_queries):
    rules = [make_rule(metric="temperature", above=n, tags=("north",)) for n in range(5)]
    many = [Device.objects.register(device_id=f"m{n}")[0] for n in range(50)]
    with django_assert_max_num_queries(40):
        add_tag(many, Tag.objects.get(key="north"), now=at(1))
    assert [len(applied(rule)) for rule in rules] == [52] * 5


def test_a_device_is_registered_into_a_rule(admin, devices):
    rule = make_rule(metric="temperature", above=30, tags=("north",))
    admin.post(DEVICES, {"device_id": "d", "tags": ["NORTH"]})
    assert applied(rule) == ["a", "b", "d"]
    measure("d", 1, 31)
    evaluate(at(2))
    assert open_alarms() == ["d"]


def test_a_silence_of_a_device_that_joins_is_not_dated_before(admin, devices):
    make_rule("silence", seconds=60, tags=("roof",))
    rule = Rule.objects.get()
    RuleDevice.objects.create(rule=rule, device_id="b", since=at(500))
    DeviceState.objects.filter(device_id__in=["a", "b"]).update(last_seen_at=at(0))
    Reception.objects.all().delete()
    Reception.objects.create(since=at(-100), until=at(1000))
    evaluate(at(1000))

    opened = dict(Alarm.objects.values_list("device_id", "opened_at"))
    assert opened == {"a": at(60), "b": at(500)}


def test_tags_are_in_the_document_and_can_be_changed(admin, devices):
    made = admin.post(RULES, HOT | {"tags": ["Roof", "north"]})
    assert (made.status_code, made.json()["tags"], made.json()["devices"]) == (201, ["north", "roof"], [])
    rule = f"{RULES}/{made.json()['id']}"
    assert admin.get(rule).json() == made.json()
    assert admin.get(RULES).json()["results"] == [made.json()]

    assert admin.patch(rule, {"tags": ["north"]}).json()["tags"] == ["north"]
    assert applied(Rule.objects.get()) == ["a", "b"]
    assert admin.patch(rule, {"tags": [], "devices": ["c"]}).json()["devices"] == ["c"]
    assert applied(Rule.objects.get()) == ["c"]
    changed = admin.patch(rule, {"tags": ["roof"], "devices": []}).json()
    assert (changed["tags"], changed["devices"]) == (["roof"], [])
    assert admin.patch(rule, {"name": "Warm"}).json()["tags"] == ["roof"]
    assert applied(Rule.objects.get()) == ["a"]
    assert admin.patch(rule, {"tags": []}).json()["tags"] == []
    assert Rule.objects.get().for_all_devices
    assert not RuleDevice.objects.exists()


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"tags": ["nothing"]}, "tags", "unknown_tag"),
        ({"tags": ["north"], "devices": ["a"]}, "tags", "devices_and_tags"),
        ({"tags": ["a/b"]}, "tags.0", "invalid_tag"),
        ({"tags": [f"t{n}" for n in range(11)]}, "tags", "max_length"),
    ],
)
def test_what_contradicts_itself_is_refused(admin, devices, body, field, code):
    (error,) = problem(admin.post(RULES, HOT | body, format="json"), 422)["errors"]
    assert (error["field"], error["code"]) == (field, code)
    assert not Rule.objects.exists()


def test_devices_and_tags_are_not_mixed_by_a_change(admin, devices):
    rule = f"{RULES}/{admin.post(RULES, HOT | {'devices': ['a']}).json()['id']}"
    (error,) = problem(admin.patch(rule, {"tags": ["north"]}), 422)["errors"]
    assert (error["field"], error["code"]) == ("tags", "devices_and_tags")
    assert '"devices": []' in error["detail"]


def test_a_tag_that_a_rule_names_is_not_deleted(admin, devices):
    rule = admin.post(RULES, HOT | {"tags": ["north"]}).json()
    refused = problem(admin.delete("/api/v1/tags/north"), 409)
    assert (refused["code"], "the alarm rule 'Hot'" in refused["detail"]) == ("tag_in_use", True)

    assert admin.delete(f"{RULES}/{rule['id']}").status_code == 204
    assert not RuleTag.objects.exists()
    assert admin.delete("/api/v1/tags/north").status_code == 204


def test_the_preview_looks_at_the_devices_with_the_tags(admin, devices):
    for device_id in "abc":
        measure(device_id, 1, 31)
    window = {"start": NOON.isoformat(), "end": (NOON + timedelta(hours=1)).isoformat()}
    found = admin.post(f"{RULES}/preview", {"rule": HOT | {"tags": ["north", "roof"]}} | window, format="json").json()
    assert [(alarm["device_id"]) for alarm in found["alarms"]] == ["a"]
    admin.post("/api/v1/tags", {"name": "empty"})
    found = admin.post(f"{RULES}/preview", {"rule": HOT | {"tags": ["empty"]}} | window, format="json").json()
    assert (found["devices"], found["alarms"]) == (0, [])


def test_alarms_are_listed_by_tags(admin, devices):
    make_rule(metric="temperature", above=30)
    for device_id in "abc":
        measure(device_id, 1, 31)
    evaluate(at(2))

    def listed(query):
        return [alarm["device_id"] for alarm in admin.get(f"/api/v1/alarms?{query}").json()["results"]]

    assert sorted(listed("tag=north")) == ["a", "b"]
    assert listed("tag=north&tag=ROOF") == ["a"]
    assert listed("tag=nothing") == []
    first = admin.get("/api/v1/alarms?tag=north&limit=1").json()
    second = admin.get(first["next"]).json()
    assert len({alarm["device_id"] for page in (first, second) for alarm in page["results"]}) == 2
    assert second["next"] is None
    problem(admin.get("/api/v1/alarms?tag=a,b"), 422)


def test_a_rule_with_tags_stays_when_its_only_device_is_erased(admin, devices):
    make_rule(metric="temperature", above=30, tags=("roof",))
    call_command("erase_device", "a", "--with-device", "--yes", verbosity=0)
    rule = Rule.objects.existing().get()
    assert (applied(rule), rule.for_all_devices) == ([], False)


def test_an_inactive_rule_follows_too(admin, devices):
    rule = make_rule(metric="temperature", above=30, tags=("north",), is_active=False)
    retag(admin, "c", "north")
    assert applied(rule) == ["a", "b", "c"]
    assert not EvaluationState.objects.exists()
