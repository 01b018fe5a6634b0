"""Limits of large answers: number of values of an aggregate, and pages and exports of readings with many metrics."""

from typing import Any

import pytest

from devices.tests.fixtures import problem
from readings.history import answers, parameters, views
from readings.statistics import aggregation, large_answers, statement
from readings.tests.logs import NOON, at, new, store

pytestmark = pytest.mark.django_db

AGGREGATE = "/api/v1/devices/mote-1/aggregate"
MAX = 60


@pytest.fixture(autouse=True)
def small_limits(monkeypatch):
    monkeypatch.setattr(aggregation, "AGGREGATE_VALUES_MAX", MAX)
    monkeypatch.setattr(parameters, "AGGREGATE_VALUES_MAX", MAX)
    monkeypatch.setattr(answers, "LARGE_ANSWER_VALUES", 20)


@pytest.fixture
def statements(monkeypatch):
    """The number of executed aggregate statements."""
    run = []
    built = statement.Statement.built

    def count(self):
        run.append(1)
        return built(self)

    monkeypatch.setattr(statement.Statement, "built", count)
    return run


def window(seconds: float, **more: Any) -> dict[str, Any]:
    return {"start": NOON.isoformat(), "end": at(seconds).isoformat(), "bucket": "1s"} | more


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({"metrics": "temperature,a,b"}, id="metrics that are named"),
        pytest.param({}, id="all the metrics that the device has"),
    ],
)
def test_filled_buckets_all_count_and_are_refused_before_the_work(admin, device, statements, parameters):
    store([new(temperature=1.0, extra={"a": 1, "b": 2})])

    document = problem(admin.get(AGGREGATE, window(21, fill="null") | parameters), 422)

    (error,) = document["errors"]
    assert (error["field"], error["code"]) == ("bucket", "too_many_values")
    for text in ("21 buckets of 3 metrics", "63 values", "60", "AGGREGATE_VALUES_MAX", "larger buckets", "fill=null"):
        assert text in error["detail"]
    assert not statements


def test_what_is_just_small_enough_is_answered(admin, device):
    store([new(temperature=1.0, extra={"a": 1, "b": 2})])
    answer = admin.get(AGGREGATE, window(20, fill="null")).json()
    assert [len(bucket["metrics"]) for bucket in answer["buckets"]] == [3] * 20


def test_empty_buckets_that_are_left_out_do_not_count(admin, device):
    store([new(timestamp=at(n), extra={"a": n, "b": n}) for n in range(30)])
    assert len(admin.get(AGGREGATE, window(9000)).json()["buckets"]) == 30


def test_it_ends_at_the_first_value_too_many(admin, device, monkeypatch):
    monkeypatch.setattr(aggregation, "FETCHED_ROWS", 10)
    given = []
    fetched = aggregation.fetched

    def count(*arguments, **more):
        for row in fetched(*arguments, **more):
            given.append(row)
            yield row

    monkeypatch.setattr(aggregation, "fetched", count)
    store([new(timestamp=at(n), extra={"a": n, "b": n}) for n in range(200)])

    document = problem(admin.get(AGGREGATE, window(200)), 422)

    assert document["errors"][0]["code"] == "too_many_values"
    assert "fill=null" not in document["detail"]
    assert len(given) <= MAX + 2


@pytest.mark.parametrize(("metrics", "buckets"), [("a", 60), ("a,b,c", 20), ("a,b,c,d", 15)])
def test_automatic_buckets_grow_with_the_metrics(admin, device, metrics, buckets):
    store([new(timestamp=at(n), extra={"a": n}) for n in range(60)])
    answer = admin.get(AGGREGATE, window(60, bucket="auto", metrics=metrics, fill="null")).json()
    assert len(answer["buckets"]) <= buckets
    assert sum(bucket["metrics"]["a"]["count"] for bucket in answer["buckets"]) == 60


def test_a_large_answer_is_what_a_small_one_is(admin, device, monkeypatch):
    store([new(timestamp=at(n * 7), temperature=float(n), extra={"a": n, f"n{n % 3}": 1e300}) for n in range(12)])
    for query in (window(90), window(10, fill="null")):
        large = admin.get(AGGREGATE, query).json()
        with monkeypatch.context() as patch:
            patch.setattr(answers, "LARGE_ANSWER_VALUES", 10_000)
            assert admin.get(AGGREGATE, query).json() == large


def test_large_answers_are_made_one_at_a_time(admin, device, monkeypatch):
    monkeypatch.setattr(large_answers, "WAIT_SECONDS", 0.01)
    store([new(timestamp=at(n), extra={"a": n, "b": n}) for n in range(5)])
    with large_answers.being_made:
        response = admin.get(AGGREGATE, window(30))
        assert admin.get(AGGREGATE, window(9)).status_code == 200
    assert problem(response, 503)["code"] == "too_many_large_answers"
    assert response["Retry-After"]
    assert admin.get(AGGREGATE, window(30)).status_code == 200
    assert admin.get(AGGREGATE, window(30, fill="null", metrics="a,b,c")).status_code == 422
    assert admin.get(AGGREGATE, window(30)).status_code == 200


def test_so_are_large_pages_but_not_small_ones(admin, device, monkeypatch):
    monkeypatch.setattr(large_answers, "WAIT_SECONDS", 0.01)
    store([new(timestamp=at(n)) for n in range(5)])
    history = "/api/v1/devices/mote-1/history"
    with large_answers.being_made:
        response = admin.get(history, {"limit": 2001})
        assert admin.get(history, {"limit": 2000}).status_code == 200
        assert admin.get(history, {"limit": 2001, "format": "csv"}).status_code == 200
    assert problem(response, 503)["code"] == "too_many_large_answers"
    assert len(admin.get(history, {"limit": 2001}).json()["results"]) == 5


def test_a_large_page_is_what_small_ones_are(admin, device, monkeypatch):
    store([new(timestamp=at(n), temperature=float(n), extra={"a": n}) for n in range(20)])
    parameters = {"limit": 20, "order": "asc"}
    small = admin.get("/api/v1/devices/mote-1/history", parameters).json()
    monkeypatch.setattr(views, "LARGE_PAGE_READINGS", 5)
    assert admin.get("/api/v1/devices/mote-1/history", parameters).json() == small
