"""`/metrics`: its content, and the callers that may read it."""

import asyncio
import threading

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import OperationalError
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from devices.models import Tag
from devices.tests.fixtures import ADMIN_KEY, client_with, problem, token_client
from readings.log import group_commit
from readings.upkeep.maintenance import maintain
from telemetry.health import closing
from telemetry.tests.support.clients.lanes import through_the_lane

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

ID = "0198c5a0-7b1e-7c3a-9f00-2b1d4e5f6a7b"


def scraped():
    """The samples by name and labels, parsed as Prometheus does."""
    text = client_with(ADMIN_KEY).get("/metrics").content.decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def counted():
    """The growth of a sample since the start of the test."""
    before = scraped()

    def grown(name, **labels):
        key = (name, *sorted(labels.items()))
        return scraped().get(key, 0) - before.get(key, 0)

    return grown


def post(mote, path, body):
    return through_the_lane(lambda client: client.post(path, json=body, headers={"X-API-Key": mote[1]}))


def test_prometheus_can_bring_the_key_as_a_bearer(anyone):
    response = anyone.get("/metrics", HTTP_AUTHORIZATION=f"Bearer {ADMIN_KEY}")

    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/plain; version=")


def test_a_caller_that_is_limited_to_tags_learns_that_this_is_why():
    Tag.objects.create(name="roof", key="roof", colour="grey")

    refused = problem(token_client("read", tags=["roof"]).get("/metrics"), 403)

    assert (refused["code"], "limited to the devices" in refused["detail"]) == ("limited", True)


def test_it_says_which_process_answers():
    assert any(name == "telemetry_process_info" for name, *_ in scraped())


def test_no_sample_names_a_device_or_an_address(mote):
    client_with(ADMIN_KEY).get("/api/v1/devices/mote-1?ticket=tlm_0123456789abcdef")
    client_with(ADMIN_KEY).get("/wp-login.php")

    text = client_with(ADMIN_KEY).get("/metrics").content.decode()
    for private in ("mote-1", "wp-login", "tlm_", ADMIN_KEY):
        assert private not in text


@pytest.mark.parametrize(
    ("path", "route", "status"),
    [
        ("/api/v1/devices/mote-1", "device-detail", "200"),
        ("/api/v1/devices/none-1/latest", "device-latest", "404"),
        ("/nothing", "none", "404"),
        ("/admin/login/", "admin:login", "200"),
        ("/health/", "health", "200"),
    ],
)
def test_a_request_counts_for_its_route_and_status(mote, counted, path, route, status):
    client_with(ADMIN_KEY).get(path)

    assert counted("telemetry_http_requests_total", route=route, method="GET", status=status) == 1
    assert counted("telemetry_http_request_seconds_count", route=route, method="GET") == 1


def test_a_method_of_the_client_s_own_making_counts_with_all_such(counted):
    client_with(ADMIN_KEY).generic("BREW", "/api/v1/devices")

    assert counted("telemetry_http_requests_total", route="device-list", method="other", status="405") == 1


def test_so_does_one_of_the_ingest_lane(mote, counted):
    post(mote, "/ingest", {"temperature": 1})
    post(mote, "/ingest/batch/", [{"temperature": 1}])

    assert counted("telemetry_http_requests_total", route="ingest", method="POST", status="201") == 1
    assert counted("telemetry_http_requests_total", route="ingest-batch", method="POST", status="201") == 1


def test_so_does_one_whose_body_was_refused_before_anyone_was_asked(counted):
    too_much = b"x" * (settings.MAX_BODY_BYTES + 1)
    answer = through_the_lane(lambda client: client.post("http://testserver/nothing", content=too_much))

    assert answer.status_code == 413
    assert counted("telemetry_http_requests_total", route="none", method="POST", status="413") == 1


def test_what_becomes_of_readings_is_counted(mote, counted):
    post(mote, "/ingest", {"temperature": 1, "id": ID})
    post(mote, "/ingest", {"temperature": 1, "id": ID})
    post(mote, "/ingest", {"Temperature": 1})
    post(mote, "/ingest/batch", [{"temperature": 1}, {"temperature": 2}, {"temperature": True}, {"id": ID, "a": 1}])
    post((None, "fleet-key-of-the-tests-0123456789"), "/ingest", {"device_id": "nobody-1", "temperature": 1})

    assert counted("telemetry_readings_accepted_total") == 3
    assert counted("telemetry_readings_duplicates_total") == 2
    for code in ("invalid_name", "not_a_number", "unknown_device"):
        assert counted("telemetry_readings_rejected_total", code=code) == 1


def test_group_commits_are_counted_and_timed(mote, counted):
    post(mote, "/ingest/batch", [{"temperature": n} for n in range(7)])

    assert counted("telemetry_commit_seconds_count") == 1
    assert counted("telemetry_commit_readings_sum") == 7
    assert counted("telemetry_commit_failures_total") == 0


def test_one_that_fails_is_counted_as_such(mote, counted, monkeypatch):
    def away(*_args, **_when):
        raise OperationalError("gone")

    monkeypatch.setattr(group_commit, "store", away)
    post(mote, "/ingest", {"temperature": 1})

    assert counted("telemetry_commit_failures_total") == 1
    assert counted("telemetry_readings_accepted_total") == 0


def test_a_queue_shows_how_long_it_is_and_that_it_was_full(mote, counted, monkeypatch):
    begun, stored, seen = threading.Event(), threading.Event(), []

    def wait(*_args, **_when):
        begun.set()
        stored.wait(5)
        raise OperationalError("gone")

    async def story(client):
        def post():
            sent = client.post("/ingest", json={"temperature": 1}, headers={"X-API-Key": mote[1]})
            return asyncio.create_task(sent)

        first = post()
        await asyncio.to_thread(begun.wait, 5)
        requests = [first, *(post() for _ in range(7))]
        await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)  # refused, because the queue is full
        await asyncio.sleep(0.1)
        seen.append(group_commit.queued_readings())
        stored.set()
        await asyncio.gather(*requests)

    monkeypatch.setattr(group_commit, "store", wait)
    monkeypatch.setattr(group_commit, "QUEUED_READINGS_MAX", 5)
    through_the_lane(story)

    assert seen == [5]
    assert counted("telemetry_ingest_overloads_total") == 2
    assert scraped()[("telemetry_ingest_queue_readings",)] == 0


def test_how_far_rollups_lag_is_known_to_every_process_and_maintenance_ends_it(mote, counted):
    post(mote, "/ingest/batch", [{"temperature": n} for n in range(7)])
    lag = ("telemetry_rollup_lag_readings",)
    assert scraped()[lag] == 7

    maintain(now=timezone.now())

    after = scraped()
    assert after[lag] == 0
    assert counted("telemetry_maintenance_rolled_up_readings_total") == 7
    last_run = after[("telemetry_maintenance_last_run_timestamp_seconds",)]
    assert abs(last_run - timezone.now().timestamp()) < 60


def test_without_the_database_all_else_is_told(monkeypatch):
    def away():
        raise OperationalError("gone")

    monkeypatch.setattr("readings.upkeep.lag.waiting", away)

    names = {name for name, *_ in scraped()}
    assert "telemetry_rollup_lag_readings" not in names
    assert "telemetry_readings_accepted_total" in names


class TestReadiness:
    @pytest.fixture(autouse=True)
    def asked_afresh(self, monkeypatch):
        monkeypatch.setattr("telemetry.health.Migrations.found", False)

    def test_a_process_that_is_ready_says_so(self, anyone):
        response = anyone.get("/health/ready")

        assert response.status_code == 200
        assert response.json() == {
            "status": "ok",
            "checks": {"database": "ok", "migrations": "ok", "draining": "no"},
        }

    @pytest.mark.slow
    def test_before_the_database_is_migrated_it_is_not(self, anyone):
        call_command("migrate", "realtime", "zero", verbosity=0)
        try:
            before = anyone.get("/health/ready")
        finally:
            call_command("migrate", verbosity=0)  # and what depends on it
        after = anyone.get("/health/ready")

        assert (before.status_code, before.json()["checks"]["migrations"]) == (503, "missing")
        assert after.status_code == 200

    def test_without_the_database_it_is_alive_but_not_ready(self, anyone, monkeypatch):
        def away():
            raise OperationalError("gone")

        monkeypatch.setattr("telemetry.health.write_probe", away)

        assert anyone.get("/health/live").status_code == 200
        response = anyone.get("/health/ready")
        assert (response.status_code, response["Retry-After"]) == (503, "5")
        assert response.json()["checks"] == {"database": "unavailable", "migrations": "unknown", "draining": "no"}

    def test_without_the_channel_layer_it_is_ready(self, anyone, monkeypatch):
        monkeypatch.setattr("telemetry.health.get_channel_layer", lambda: None)

        assert anyone.get("/health").json()["status"] == "degraded"
        assert anyone.get("/health/ready").status_code == 200

    def test_while_it_stops_it_is_alive_but_not_ready(self, anyone):
        closing.set()
        try:
            assert anyone.get("/health/live").status_code == 200
            assert anyone.get("/health/ready").status_code == 503
        finally:
            closing.clear()

    def test_alive_asks_nothing_of_anybody(self, anyone, django_assert_num_queries):
        with django_assert_num_queries(0):
            anyone.get("/health/live")
