"""`GET /api/v1/metrics` and `PATCH /api/v1/metrics/{name}`."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from devices.models import AccountTag, Tag
from devices.tests.fixtures import problem, staff_client, token_client
from readings.common_metrics import COMMON
from readings.models import Metric
from readings.tests.logs import new, store

pytestmark = pytest.mark.django_db


def test_the_list_has_the_catalogue_in_its_order(admin):
    Metric.objects.create(name="soil_moisture_top")
    Metric.objects.filter(name="rssi").update(order=1)

    answer = admin.get("/api/v1/metrics").json()

    assert answer["next"] is None
    assert len(answer["results"]) == len(COMMON) + 1
    assert answer["results"][0] == {
        "name": "rssi",
        "label": "RSSI",
        "unit": "dBm",
        "decimals": 0,
        "order": 1,
        "low": None,
        "high": None,
    }
    assert answer["results"][1]["name"] == "temperature"
    last = answer["results"][-1]
    assert (last["name"], last["label"], last["unit"]) == ("soil_moisture_top", "soil moisture top", "")


def test_a_limited_caller_sees_the_common_metrics_and_those_of_its_devices(admin, device, other_device):
    admin.post("/api/v1/tags", {"name": "own"})
    admin.patch("/api/v1/devices/mote-1", {"tags": ["own"]})
    store([new("mote-1", extra={"mine": 1.0}), new("mote-2", extra={"secret": 1.0})])
    Metric.objects.bulk_create([Metric(name="mine"), Metric(name="secret")])
    client = token_client("read", tags=["own"])
    names = {metric["name"] for metric in client.get("/api/v1/metrics").json()["results"]}
    assert names == {*COMMON, "mine"}

    account = staff_client("limited", "readings.view_metric")
    AccountTag.objects.create(user=User.objects.get(username="limited"), tag=Tag.objects.get())
    page = account.get("/admin/readings/metric/?q=e").content.decode()
    assert "mine" in page
    assert "secret" not in page


def test_the_list_takes_one_query_however_many_there_are(admin, django_assert_num_queries):
    Metric.objects.bulk_create(Metric(name=f"metric_{n}") for n in range(50))

    with django_assert_num_queries(1):
        admin.get("/api/v1/metrics")


def test_a_change_is_answered_stored_and_logged(admin):
    given = {"label": "Outdoors", "unit": "°F", "decimals": 1, "order": 3, "low": -40, "high": 130.5}

    answer = admin.patch("/api/v1/metrics/temperature", given)

    assert answer.status_code == 200
    assert answer.json() == {"name": "temperature"} | given
    assert Metric.objects.get(name="temperature").unit == "°F"
    entry = LogEntry.objects.get()
    assert (entry.object_repr, entry.user.get_username()) == ("temperature", "API key")
    assert "Label, Unit" in entry.get_change_message()


def test_what_is_not_sent_stays_and_null_removes_a_bound(admin):
    answer = admin.patch("/api/v1/metrics/humidity", {"low": None, "decimals": 0}).json()

    assert (answer["unit"], answer["low"], answer["high"], answer["decimals"]) == ("%", None, 100.0, 0)


def test_what_changes_nothing_is_not_logged(admin):
    assert admin.patch("/api/v1/metrics/humidity", {"unit": "%"}).status_code == 200

    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(
    ("given", "field", "code"),
    [
        ({"label": "x" * 61}, "label", "max_length"),
        ({"label": "two\nlines"}, "label", "control_character"),
        ({"unit": "a\tb"}, "unit", "control_character"),
        ({"unit": 5}, "unit", "invalid"),
        ({"unit": None}, "unit", "null"),
        ({"decimals": 11}, "decimals", "max_value"),
        ({"decimals": -1}, "decimals", "min_value"),
        ({"decimals": True}, "decimals", "invalid"),
        ({"order": 10_000}, "order", "max_value"),
        ({"order": None}, "order", "null"),
        ({"low": "5"}, "low", "invalid"),
        ({"high": 1e301}, "high", "max_value"),
        ({"low": 100}, "low", "no_range"),
        ({"high": -1}, "high", "no_range"),
        ({"low": 5, "high": 5}, "low", "no_range"),
        ({"name": "other"}, "name", "unknown_field"),
    ],
)
def test_a_wrong_value_is_refused_by_name_and_changes_nothing(admin, given, field, code):
    before = Metric.objects.get(name="humidity").description

    errors = problem(admin.patch("/api/v1/metrics/humidity", given | {"unit": given.get("unit", "g")}), 422)["errors"]

    assert (errors[0]["field"], errors[0]["code"]) == (field, code)
    assert Metric.objects.get(name="humidity").description == before


@pytest.mark.parametrize("name", ["never_heard_of", "Upper", "timestamp", "x" * 64])
def test_a_metric_that_is_not_in_the_catalogue_is_not_found(admin, name):
    problem(admin.patch(f"/api/v1/metrics/{name}", {"unit": "m"}), 404)


def test_the_database_refuses_an_empty_range():
    with pytest.raises(IntegrityError), transaction.atomic():
        Metric.objects.filter(name="humidity").update(low=200)


def test_an_account_changes_the_catalogue_in_the_console_and_it_is_logged():
    client = staff_client("operator", "readings.change_metric")
    assert "humidity" in client.get("/admin/readings/metric/?q=humid").content.decode()
    given = {"label": "moisture", "unit": "% RH", "decimals": "", "order": "7", "low": "0", "high": "100"}

    answer = client.post("/admin/readings/metric/humidity/change/", given, format="multipart")

    assert answer.status_code == 302
    metric = Metric.objects.get(name="humidity")
    assert (metric.label, metric.unit, metric.order, metric.high) == ("moisture", "% RH", 7, 100)
    assert LogEntry.objects.get().object_repr == "humidity"
