"""Query parameters of console pages: never a 500, and never a look-up that a list does not declare."""

import time
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from devices.models import Device
from devices.tests.fixtures import staff_client
from readings.ingest.refused_posts import Times, keep, refused_post
from readings.tests.logs import new, store

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
HUGE = "9" * 30
NOT_OF_THE_MODEL = {
    "nothing_like_it": "1",
    "pk__in": HUGE,
    "pk__range": "x",
    "pk__regex": "^(1+)+$",
    "p": HUGE,
    "all": "x",
    "e": "1",
    "_facets": "x",
    "_popup": "x",
    "_changelist_filters": "\x00&x=%ff&pk__regex=x&" * 50,
}
ODD_VALUES = [
    *({"o": order} for order in ("x", "99", "-", "--1", "1.1", "²", HUGE, "1." * 3000)),
    *({"p": page} for page in ("0", "-1", "x", "1e9", "last", "\x00")),
    *(
        {"q": text}
        for text in (
            "\x00",
            '"',
            "'",
            "\\",
            "%",
            "x " * 2000,
            "x" * 5000,
            "\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace"),
        )
    ),
    *({"_to_field": field} for field in ("id", "pk", "password", "api_key_hash", "x", "\x00")),
    {"beyond": "\x00"},
    {"beyond": HUGE, "q": "mote-1"},
]
LOOKUPS = ("", "regex", "startswith", "contains", "range", "in", "isnull", "year", "gt__lt", "\x00")
VALUES = ("x", "", HUGE, "\x00")
NEVER_ENDING = "^(a+)+$"


@pytest.fixture(autouse=True)
def something_of_everything(device, other_device):
    store([new()])
    kind = refused_post(
        caller="nobody",
        unknown_key="tlm_aaaa",
        device_id="mote-1",
        address="192.0.2.1",
        status=422,
        code="x",
        detail="",
    )
    keep({kind: Times(timezone.now())})
    account = User.objects.create_user("colleague")
    Group.objects.create(name="people")
    LogEntry.objects.log_actions(account.pk, [device, account], CHANGE, "Changed.")


def address(model, page="changelist", *args):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


# Models whose lists need another permission than theirs to view.
PERMISSIONS = dict.fromkeys(("alarms.Channel", "alarms.Delivery"), "alarms.manage_rules") | dict.fromkeys(
    ("alarms.DeviceMute", "alarms.TagMute"), "alarms.view_alarm"
)


def viewer_of(model):
    usual = f"{model._meta.app_label}.view_{model._meta.model_name}"
    return staff_client("viewer", PERMISSIONS.get(model._meta.label, usual))


def root():
    client = staff_client("root")
    User.objects.filter(username="root").update(is_superuser=True)
    return client


def undeclared(client, model):
    """Every field with every look-up, and some over a relation, except those with a declared filter."""
    # A filter may be hidden from accounts with few permissions, but its parameters are still accepted.
    specs = [spec for who in (client, root()) for spec in who.get(address(model)).context["cl"].filter_specs]
    declared = {name for spec in specs for name in spec.expected_parameters()}
    for field in model._meta.get_fields():
        for lookup in LOOKUPS:
            if (name := "__".join(filter(None, (field.name, lookup)))) not in declared:
                yield name
        for beyond in field.related_model._meta.get_fields() if field.related_model else ():
            yield f"{field.name}__{beyond.name}"


def faults(client, path, asked):
    statuses = [(parameters, client.get(path, parameters).status_code) for parameters in asked]
    return [fault for fault in statuses if fault[1] not in (200, 302, 400)]


@pytest.mark.parametrize("model", MODELS)
def test_no_parameter_of_a_list_is_a_fault_of_ours(model):
    hostile = [*({name: value} for name, value in NOT_OF_THE_MODEL.items()), *ODD_VALUES]

    assert faults(root(), address(model), hostile) == []
    assert faults(viewer_of(model), address(model), hostile) == []


@pytest.mark.parametrize("model", MODELS)
def test_a_declared_filter_takes_any_value(model):
    client, path = root(), address(model)
    specs = client.get(path).context["cl"].filter_specs

    for name in {name for spec in specs for name in spec.expected_parameters()}:
        assert faults(client, path, [{name: value} for value in VALUES]) == []
        assert client.get(f"{path}?{urlencode([(name, VALUES[0])] * 900)}").status_code == 302


@pytest.mark.parametrize("model", MODELS)
def test_what_no_list_declares_reaches_no_database(model):
    client = viewer_of(model)

    with CaptureQueriesContext(connection) as queries:
        for name in undeclared(client, model):
            assert client.get(address(model), {name: NEVER_ENDING}).status_code == 302, name

    assert [query["sql"] for query in queries if NEVER_ENDING in query["sql"]] == []


@pytest.mark.parametrize(
    "query",
    [
        "device_id__regex=^(a%2B)%2B$",
        "api_key_hash__startswith=a",
        "device_id__range=x",
        "readings__extra__contains=1",
        "statsu=offline",
        "state__last_seq__gt=1",
        "created_at__year=2020",
    ],
)
def test_who_asked_for_what_there_is_not_is_told_so(query):
    response = viewer_of(Device).get(f"/admin/devices/device/?{query}", follow=True)

    assert response.redirect_chain == [("/admin/devices/device/?e=1", 302)]
    assert "This list has no such filter" in response.content.decode()


def test_an_action_on_a_list_that_is_none_does_nothing(device):
    client = staff_client("operator", "devices.view_device", "devices.change_device")
    form = {"action": "deactivate", "_selected_action": [str(device.pk)], "select_across": "1"}

    for query in ("device_id__regex=x", f"q={'x' * 200}", "q=%00"):
        assert client.post(f"/admin/devices/device/?{query}", form, format="multipart").status_code == 302

    assert Device.objects.filter(is_active=True).count() == 2


def test_a_regular_expression_that_never_ends_is_not_begun():
    Device.objects.register(device_id="a" * 60 + "b")
    client, began = viewer_of(Device), time.monotonic()

    client.get("/admin/devices/device/?device_id__regex=^(a%2B)%2B$")

    assert time.monotonic() - began < 5


def test_a_search_of_the_longest_allowed_is_answered(device):
    assert root().get("/admin/devices/device/", {"q": "x " * 50}).status_code == 200


@pytest.mark.parametrize("model", MODELS)
def test_nothing_chosen_is_a_fault_of_ours(model):
    client = root()

    for action in ("delete_selected", "rotate", "deactivate", "export", "x"):
        for chosen in VALUES:
            form = {"action": action, "_selected_action": [chosen], "index": "x", "select_across": "x"}
            response = client.post(address(model), form, format="multipart")
            assert response.status_code in (200, 302, 400), (action, chosen)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("page", ["change", "history", "delete"])
def test_no_id_is_a_fault_of_ours(model, page):
    client = root()

    for pk in ("x", HUGE, "_00", "-1"):
        for parameters in ({}, {"_to_field": "device_id", "_popup": "1", "p": "x"}):
            response = client.get(address(model, page, pk), parameters)
            assert response.status_code in (302, 400, 403, 404), (pk, parameters)


@pytest.mark.parametrize("model", [Device, User, Group])
def test_nothing_that_a_form_begins_with_is_a_fault_of_ours(model):
    client = root()

    for value in VALUES:
        assert (
            client.get(address(model, "add"), {field.name: value for field in model._meta.get_fields()}).status_code
            == 200
        )


@pytest.mark.parametrize(
    "field",
    [
        ("auth", "user", "groups"),
        ("devices", "device", "readings"),
        ("devices", "devicestate", "device"),
        ("admin", "logentry", "user"),
        ("auth", "user", "username"),
        ("", "", ""),
    ],
)
def test_completing_is_for_the_fields_that_declare_it(field):
    """No field declares it, because the view would search and count any related table."""
    known = dict(zip(("app_label", "model_name", "field_name"), field, strict=True))

    assert root().get("/admin/autocomplete/", known | {"term": "x " * 3000}).status_code == 403


def test_no_object_to_go_to_is_a_fault_of_ours():
    client = root()

    for kind in ("x", "0", HUGE, "%00", *ContentType.objects.values_list("pk", flat=True)):
        for pk in ("x", HUGE, "%00"):
            assert client.get(f"/admin/r/{kind}/{pk}/").status_code in (400, 404), (kind, pk)


def test_who_may_not_view_an_object_is_not_led_to_it(device):
    kind = ContentType.objects.get_for_model(Device).pk

    assert staff_client("newcomer").get(f"/admin/r/{kind}/{device.pk}/").status_code == 403
    assert viewer_of(Device).get(f"/admin/r/{kind}/{device.pk}/")["Location"].endswith("/live/mote-1/")
