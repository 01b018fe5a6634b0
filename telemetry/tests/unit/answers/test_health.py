import asyncio
from datetime import datetime, timedelta

import pytest
from django.db import InterfaceError, OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from devices.tests.fixtures import new_client
from readings.alarms.delivery.rounds import note_round as note_delivery
from readings.alarms.models import Channel
from readings.alarms.tests.delivery.channels import channel
from readings.upkeep.rounds import note_round

pytestmark = pytest.mark.django_db

AWAY = "connection refused at 10.0.0.7"


@pytest.fixture
def database_away(monkeypatch):
    def write_probe():
        raise OperationalError(AWAY)

    monkeypatch.setattr("telemetry.health.write_probe", write_probe)


class Layer:
    """A channel layer that fails or hangs as the test says."""

    def __init__(self, behaviour):
        self.group_send = behaviour


@pytest.fixture
def channel_layer_away(monkeypatch):
    async def group_send(*_args):
        raise ConnectionError(AWAY)

    monkeypatch.setattr("telemetry.health.get_channel_layer", lambda: Layer(group_send))


def test_all_is_well(anyone):
    response = anyone.get("/health")

    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert response.json() == {"status": "ok", "checks": {"database": "ok", "channel_layer": "ok"}}


@pytest.mark.parametrize("path", ["/api/v1/health", "/api/v1/health/", "/health", "/health/"])
def test_it_is_at_each_of_its_addresses(anyone, path):
    response = anyone.get(path)

    assert response.status_code == 200
    assert response.json()["status"] == "ok"


def test_it_asks_the_database(anyone, django_assert_num_queries):
    """One query writes the probe, the others read the last round of maintenance, and whether there are channels."""
    note_round(now=timezone.now(), rolled_up=0, deleted=0, seconds=0)
    with django_assert_num_queries(3):
        anyone.get("/health")


def test_it_answers_a_head_too(anyone):
    assert anyone.head("/health").status_code == 200


def test_a_wrong_key_does_not_matter(anyone):
    assert anyone.get("/health", HTTP_X_API_KEY="wrong").status_code == 200


def test_without_the_database_it_is_unavailable(anyone, database_away):
    response = anyone.get("/health")

    assert response.status_code == 503
    assert response["Retry-After"]
    assert response.json() == {
        "status": "unavailable",
        "checks": {"database": "unavailable", "channel_layer": "ok"},
    }


def test_a_closed_connection_is_no_database_either(anyone, monkeypatch):
    def write_probe():
        raise InterfaceError("connection already closed")

    monkeypatch.setattr("telemetry.health.write_probe", write_probe)

    assert anyone.get("/health").status_code == 503


def test_without_the_channel_layer_it_is_degraded(anyone, channel_layer_away):
    response = anyone.get("/health")

    assert response.status_code == 200
    assert response.json() == {
        "status": "degraded",
        "checks": {"database": "ok", "channel_layer": "unavailable"},
    }


def test_a_channel_layer_that_hangs_is_away(anyone, monkeypatch):
    async def group_send(*_args):
        await asyncio.sleep(1)

    monkeypatch.setattr("telemetry.health.PROBE_SECONDS", 0.01)
    monkeypatch.setattr("telemetry.health.get_channel_layer", lambda: Layer(group_send))

    assert anyone.get("/health").json()["status"] == "degraded"


def test_without_either_it_is_unavailable(anyone, database_away, channel_layer_away):
    response = anyone.get("/health")

    assert response.status_code == 503
    assert response.json()["status"] == "unavailable"


def test_it_tells_nobody_where_things_are(anyone, database_away, channel_layer_away):
    assert AWAY not in anyone.get("/health").content.decode()


def ago(minutes: float) -> datetime:
    return timezone.now() - timedelta(minutes=minutes)


def test_maintenance_that_has_completed_no_round_for_half_an_hour_is_late(anyone):
    note_round(now=ago(29), rolled_up=0, deleted=0, seconds=0)
    assert anyone.get("/health").json()["status"] == "ok"

    note_round(now=ago(31), rolled_up=0, deleted=0, seconds=0)
    response = anyone.get("/health")
    assert response.status_code == 200
    assert response.json() == {
        "status": "degraded",
        "checks": {"database": "ok", "channel_layer": "ok", "maintenance": "late"},
    }

    note_round(now=ago(0), rolled_up=0, deleted=0, seconds=0)
    assert anyone.get("/health").json()["status"] == "ok"


def test_a_new_installation_has_half_an_hour_for_its_first_round(anyone):
    assert anyone.get("/health").json()["status"] == "ok"

    MigrationRecorder(connection).migration_qs.update(applied=ago(31))
    assert anyone.get("/health").json()["checks"]["maintenance"] == "late"


def test_a_round_in_the_future_does_not_hide_that_maintenance_stands_still(anyone):
    note_round(now=ago(-600 * 1440), rolled_up=0, deleted=0, seconds=0)
    assert anyone.get("/health").json()["checks"]["maintenance"] == "late"


def test_maintenance_that_cannot_be_asked_for_is_no_outage(anyone, monkeypatch):
    def last_round():
        raise OperationalError(AWAY)

    monkeypatch.setattr("telemetry.health.last_round", last_round)
    assert anyone.get("/health").status_code == 200


def test_messages_that_no_process_delivers_for_five_minutes_are_late(anyone):
    note_round(now=ago(0), rolled_up=0, deleted=0, seconds=0)
    made = channel()
    for created, delivered, late in ((4, None, False), (6, None, True), (60, 4, False), (60, 6, True)):
        Channel.objects.filter(pk=made.pk).update(created_at=ago(created))
        if delivered:
            note_delivery(now=ago(delivered))
        document = anyone.get("/health").json()
        assert document["checks"].get("delivery") == ("late" if late else None)
        assert document["status"] == ("degraded" if late else "ok")


def test_late_maintenance_takes_no_process_out_of_service(anyone):
    note_round(now=ago(31), rolled_up=0, deleted=0, seconds=0)
    assert anyone.get("/health/ready").status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/health", "/health", "/health/live", "/health/ready"])
def test_another_method_is_a_405_whatever_it_brings(path):
    client = new_client(enforce_csrf=True)

    assert client.post(path).status_code == 405
    assert client.generic("QUERY", path).status_code == 405
