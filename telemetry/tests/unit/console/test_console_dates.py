"""Dates in the query of a console list: an impossible one leads to the unfiltered list, on every list."""

import pytest
from django.contrib import admin
from django.contrib.admin import DateFieldListFilter
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import DateField
from django.urls import reverse

from devices.tests.fixtures import staff_client
from readings.models import Reading
from readings.tests.logs import new, store

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

# One date of each registered model that has one.
DATED = [
    (model, dates[-1])
    for model in sorted(admin.site._registry, key=lambda model: model._meta.label)
    if (dates := [field.name for field in model._meta.get_fields() if isinstance(field, DateField)])
]
# Look-ups that people try by hand, as Django's date hierarchy and date filters write them.
IMPOSSIBLE = [
    ("__year", "20255"),
    ("__year", "0"),
    ("__year", "-1"),
    ("__year", "9" * 20),
    ("__year", "9999"),
    ("__year", "²"),
    ("__day", "99"),
    ("__month", "13"),
    ("__gte", "garbage"),
    ("__gte", "2025-02-30"),
    ("__gte", "\x00"),
    ("__lt", "9" * 30),
    ("__date", "99999-01-01"),
    ("", "1e400"),
]
# Outside the years that Python has in UTC; PostgreSQL has them.
EDGES = [("__gte", "0001-01-01T00:00:00+14:00"), ("__lt", "9999-12-31T23:59:59-14:00")]
HIERARCHIES = ["2025-13", "2025-02-30", "2025-1-99", f"{'9' * 20}-1-1", f"2025-{'9' * 20}", "0-0-0", "9999-12-31"]


@pytest.fixture
def root(admin_user):
    client = staff_client("root")
    client.force_login(admin_user)
    return client


def address(model):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def fate(client, model, parameters):
    response = client.get(address(model), parameters)
    return response.status_code, response.get("Location", "")


def back_to(model):
    return 302, f"{address(model)}?e=1"


@pytest.mark.parametrize(("model", "field"), DATED)
def test_an_impossible_date_leads_back_to_the_list(root, device, model, field):
    store([new()])

    for lookup, value in (*IMPOSSIBLE, *EDGES):
        assert fate(root, model, {f"{field}{lookup}": value}) == back_to(model), (lookup, value)

    assert "This list has no such filter" in root.get(f"{address(model)}?e=1").content.decode()


# The list of readings is no query of Django's.
@pytest.mark.parametrize(("model", "field"), [dated for dated in DATED if dated[0] is not Reading])
def test_so_it_does_where_a_list_declares_dates(root, device, monkeypatch, model, field):
    """No list has a date hierarchy or a date filter yet; Django's own raise several errors for such values."""
    declared = admin.site.get_model_admin(model)
    monkeypatch.setattr(declared, "date_hierarchy", field)
    monkeypatch.setattr(declared, "list_filter", [(field, DateFieldListFilter)])
    store([new()])

    for lookup, value in IMPOSSIBLE:
        assert fate(root, model, {f"{field}{lookup}": value}) == back_to(model), (lookup, value)
    for lookup, value in EDGES:
        answer = fate(root, model, {f"{field}{lookup}": value})
        assert answer == (back_to(model) if connection.vendor == "sqlite" else (200, ""))
    for hierarchy in HIERARCHIES:
        parts = dict(zip(("year", "month", "day"), hierarchy.split("-"), strict=False))
        parameters = {f"{field}__{part}": value for part, value in parts.items()}
        assert fate(root, model, parameters) == back_to(model), hierarchy
    window = {f"{field}__gte": "2025-01-01T00:00:00Z", f"{field}__lt": "9999-01-01T00:00:00Z"}
    assert fate(root, model, window)[0] == 200


@pytest.mark.parametrize("method", ["get_queryset", "get_results"])
def test_an_error_of_the_list_itself_is_not_taken_for_one_of_the_caller(root, monkeypatch, method):
    def fail(*args):
        raise ValueError

    monkeypatch.setattr(ChangeList, method, fail)

    for parameters in ({}, {"e": "1"}):
        assert fate(root, User, parameters)[0] == 500
    assert fate(root, User, {"q": "x"}) == back_to(User)
