"""Distributing the tables of the log: what their keys allow, where Citus is missing, and what stops the start."""

from typing import Any

import pytest
from django.apps import apps
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import connection

from devices.database import distribution
from devices.database.distribution import PER_DEVICE, REFERENCE, NotDistributed
from telemetry.health import Distribution

pytestmark = pytest.mark.django_db

DISTRIBUTED: dict[str, tuple[str, int, str | None]] = {
    **dict.fromkeys(REFERENCE, ("n", 1, None)),
    **dict.fromkeys(PER_DEVICE, ("h", 2, "device_id")),
}


def models_by_table() -> dict[str, Any]:
    return {model._meta.db_table: model for model in apps.get_models()}


def unique_keys(table: str) -> list[list[str]]:
    """The columns of the primary key and of each other unique key."""
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, table).values()
        primary = connection.introspection.get_primary_key_columns(cursor, table)
    return [list(primary or []), *(about["columns"] for about in found if about["unique"])]


@pytest.mark.parametrize("table", PER_DEVICE)
def test_every_unique_key_of_the_log_names_the_device(table):
    """Citus cannot check any other over several nodes."""
    assert [columns for columns in unique_keys(table) if "device_id" not in columns] == []


@pytest.mark.parametrize("table", PER_DEVICE)
def test_every_foreign_key_of_the_log_names_the_device_or_leads_to_a_copy(table):
    with connection.cursor() as cursor:
        relations = connection.introspection.get_relations(cursor, table)
    # (column here, (column there, table there), …)
    targets = {column: relation[1] for column, relation in relations.items()}
    assert {column for column, target in targets.items() if column != "device_id" and target not in REFERENCE} == set()


def test_every_model_with_rows_of_each_device_is_in_the_list():
    """A model that names its device with its key, and in its primary key."""
    found = {
        table
        for table, model in models_by_table().items()
        if any(field.column == "device_id" and field.primary_key for field in model._meta.local_fields)
        or "device_id" in {field.column for field in model._meta.pk_fields}
        or table == "readings_reading"  # migration 0013
    }
    copies = {table for table in REFERENCE if table in found}
    local = {"alarms_devicemute", "alarms_ruledevice"}  # of operators: few, and joined with other local tables
    assert found - copies - local == set(PER_DEVICE)


def test_a_ticket_does_not_draw_the_tables_of_accounts_in():
    with connection.cursor() as cursor:
        relations = connection.introspection.get_relations(cursor, "realtime_ticket")
    assert {relation[1] for relation in relations.values()} & {*PER_DEVICE, *REFERENCE} == set()


@pytest.mark.one_database("is about a database without Citus")
def test_without_citus_it_says_what_to_do(settings):
    settings.DISTRIBUTED = True
    words = "no PostgreSQL with Citus|not a PostgreSQL with Citus|SQLite cannot be distributed"
    with pytest.raises(NotDistributed, match=words):
        call_command("distribute")
    for command in ("maintain", "mqtt", "serve"):
        with pytest.raises(NotDistributed, match=words):
            call_command(command, *(["--once"] if command == "maintain" else []))


def test_sqlite_stops_the_start(settings):
    settings.DISTRIBUTED = True
    found = [message for message in run_checks() if message.id == "telemetry.E060"]
    assert bool(found) is (connection.vendor == "sqlite")


@pytest.mark.one_database("is about a database without Citus")
def test_where_nothing_is_distributed_nothing_is_asked(django_assert_num_queries):
    with django_assert_num_queries(0):
        distribution.require_distribution()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({}, []),
        ({"readings_rollup": None}, ["readings_rollup is not distributed by device_id."]),
        ({"readings_rollup": ("n", 1, None)}, ["readings_rollup is not distributed by device_id."]),
        ({"readings_rollup": ("h", 2, "metric")}, ["readings_rollup is not distributed by device_id."]),
        ({"readings_rollup": ("h", 3, "device_id")}, ["readings_rollup is not colocated with devices_devicestate."]),
        ({"devices_device": None}, ["devices_device is not a reference table."]),
        ({"devices_device": ("h", 2, "id")}, ["devices_device is not a reference table."]),
    ],
)
def test_a_table_that_is_not_where_it_belongs_stops_the_start(settings, monkeypatch, anyone, wrong, words):
    settings.DISTRIBUTED = True
    known = {table: place for table, place in (DISTRIBUTED | wrong).items() if place}
    monkeypatch.setattr(distribution, "require_citus", lambda: None)
    monkeypatch.setattr(distribution, "places", lambda: known)
    monkeypatch.setattr(Distribution, "found", False)
    ready = anyone.get("/health/ready")
    assert ready.json()["checks"]["distribution"] == ("missing" if words else "ok")
    assert ready.status_code == (503 if words else 200)
    if not words:
        distribution.require_distribution()
        return
    with pytest.raises(NotDistributed) as caught:
        distribution.require_distribution()
    assert str(caught.value) == f"{' '.join(words)} Run `manage.py distribute`."
