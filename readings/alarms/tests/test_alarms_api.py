"""`GET /alarms`, `GET /devices/{device_id}/alarms` and `POST /alarms/{id}/acknowledge`."""

import uuid

import pytest

from devices.tests.fixtures import problem, staff_client
from readings.alarms.models import Alarm
from readings.alarms.tests.rules import alarm_of, make_rule
from readings.tests.logs import NOON, at

pytestmark = pytest.mark.django_db

ALARMS = "/api/v1/alarms"


def found(response):
    assert response.status_code == 200, response.content
    return [alarm["id"] for alarm in response.json()["results"]]


def alarm(device_id="mote-1", seconds=0, **given):
    return str(alarm_of(device_id, at=at(seconds), **given).pk)


def test_an_alarm_has_every_field(admin, device):
    rule = make_rule(metric="temperature", above=30, name="Hot", severity="critical")
    pk = alarm(rule=rule, worst=35.5)

    assert admin.get(ALARMS).json() == {
        "results": [
            {
                "id": pk,
                "rule": {"id": rule.pk, "name": "Hot", "kind": "threshold", "severity": "critical"},
                "device_id": "mote-1",
                "device_name": "North window",
                "metric": "temperature",
                "state": "open",
                "began_at": "2026-05-09T12:00:00.000000Z",
                "opened_at": "2026-05-09T12:00:00.000000Z",
                "noticed_at": "2026-05-09T12:00:00.000000Z",
                "value": 31.0,
                "worst": 35.5,
                "resolved_at": None,
                "reason": None,
                "late": False,
                "acknowledged_at": None,
                "acknowledged_by": None,
                "comment": None,
            }
        ],
        "next": None,
    }


def test_the_open_ones_come_newest_first_and_others_if_asked_for(admin, device):
    old, new = alarm(seconds=0), alarm(seconds=10)
    resolved = alarm(seconds=5, resolved_at=at(6), reason="cleared")

    assert found(admin.get(ALARMS)) == [new, old]
    assert found(admin.get(f"{ALARMS}?state=resolved")) == [resolved]
    assert found(admin.get(f"{ALARMS}?state=all")) == [new, resolved, old]


def test_filters_narrow_the_list_together(admin, mote, other_device):
    cold = make_rule(metric="temperature", below=0, severity="critical")
    one, two = alarm(seconds=0), alarm("mote-2", seconds=10)
    critical = alarm("mote-2", seconds=20, rule=cold)

    for query, expected in {
        "device_id=mote-2": [critical, two],
        f"rule={cold.pk}": [critical],
        "severity=critical": [critical],
        "severity=warning&device_id=mote-1": [one],
        "start=2026-05-09T12:00:10Z": [critical, two],
        "end=2026-05-09T12:00:10Z": [one],
        "from=2026-05-09T12:00:10Z&to=2026-05-09T12:00:20Z": [two],
        "device_id=nobody": [],
        "rule=999999999999999999": [],
    }.items():
        assert found(admin.get(f"{ALARMS}?{query}")) == expected, query


def test_pages_follow_each_other_without_a_gap_although_times_are_equal(admin, device):
    rules = [make_rule(metric="temperature", above=n) for n in range(7)]
    expected = [alarm(seconds=n // 3, rule=rule) for n, rule in enumerate(rules)]
    expected.sort(key=lambda pk: (Alarm.objects.get(pk=pk).opened_at, pk), reverse=True)
    address, seen, pages = f"{ALARMS}?limit=2&start=2000-01-01&device_id=mote-1", [], 0
    while address:
        page = admin.get(address).json()
        seen += [entry["id"] for entry in page["results"]]
        address, pages = page["next"], pages + 1
        if pages == 1:
            alarm(seconds=100)  # newer than the pages that follow

    assert (seen, pages) == (expected, 4)


@pytest.mark.parametrize("alarms", [1, 8])
def test_a_page_costs_the_same_however_many_alarms_it_has(admin, device, django_assert_num_queries, alarms):
    for n in range(alarms):
        alarm(seconds=n, rule=make_rule(metric="temperature", above=n))

    with django_assert_num_queries(1):
        admin.get(ALARMS)


@pytest.mark.once
@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("state=closed", "state", "invalid_choice"),
        ("severity=bad", "severity", "invalid_choice"),
        ("rule=x", "rule", "invalid"),
        ("start=yesterday", "start", "invalid_time"),
        ("start=now&end=-1h", "end", "empty_window"),
        ("limit=1001", "limit", "max_value"),
        ("cursor=x", "cursor", "invalid_cursor"),
        ("tag=a/b", "tag.0", "invalid_tag"),
        ("metrics=co2", "metrics", "unknown_field"),
    ],
)
def test_a_wrong_parameter_is_named(admin, query, field, code):
    errors = problem(admin.get(f"{ALARMS}?{query}"), 422)["errors"]

    assert [(error["field"], error["code"]) for error in errors] == [(field, code)]


class TestOfADevice:
    def test_a_device_sees_its_own_alarms(self, mote, as_device, as_other_device):
        pk = alarm()

        assert found(as_device.get("/api/v1/devices/mote-1/alarms")) == [pk]
        problem(as_other_device.get("/api/v1/devices/mote-1/alarms"), 404)
        assert found(as_other_device.get("/api/v1/devices/mote-2/alarms")) == []

    def test_it_takes_the_other_filters(self, mote, admin):
        alarm()
        resolved = alarm(resolved_at=at(1))

        assert found(admin.get("/api/v1/devices/mote-1/alarms?state=resolved")) == [resolved]
        problem(admin.get("/api/v1/devices/mote-1/alarms?device_id=mote-2"), 422)

    def test_its_pages_stay_with_the_device(self, mote, other_device, admin):
        first = [alarm(seconds=n, rule=make_rule(metric="temperature", above=n)) for n in range(2)]
        alarm("mote-2")
        page = admin.get("/api/v1/devices/mote-1/alarms?limit=1").json()

        assert found(admin.get(page["next"])) == [first[0]]


class TestAcknowledging:
    def test_it_says_who_when_and_why(self, device):
        pk = alarm()
        operator = staff_client("ada", "alarms.acknowledge_alarm")

        response = operator.post(f"{ALARMS}/{pk}/acknowledge", {"comment": "On my way"})

        assert response.status_code == 200
        document = response.json()
        assert (document["acknowledged_by"], document["comment"], document["state"]) == ("ada", "On my way", "open")
        assert document["acknowledged_at"] is not None

    def test_it_needs_no_body_and_names_the_key(self, admin, device):
        response = admin.post(f"{ALARMS}/{alarm()}/acknowledge")

        assert (response.status_code, response.json()["acknowledged_by"]) == (200, "API key")
        assert response.json()["comment"] is None

    def test_an_unknown_alarm_is_not_found(self, admin, db):
        problem(admin.post(f"{ALARMS}/{uuid.uuid4()}/acknowledge"), 404)
        problem(admin.post(f"{ALARMS}/1/acknowledge"), 404)

    @pytest.mark.parametrize("body", [{"comment": 5}, {"comment": "x" * 1001}, {"text": "x"}, {"comment": "\x00"}])
    def test_a_wrong_body_is_refused(self, admin, device, body):
        pk = alarm()
        problem(admin.post(f"{ALARMS}/{pk}/acknowledge", body), 422)

        assert Alarm.objects.get().acknowledged_at is None
        assert Alarm.objects.get().opened_at == NOON
