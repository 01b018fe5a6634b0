"""Who may do what: every route and method, times every kind of caller."""

import pytest
from django.contrib.auth.models import User
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from msgspec import json

from devices.tests.fixtures import ADMIN_KEY, FLEET_KEY, client_with, problem, staff_client

pytestmark = pytest.mark.django_db

CALLERS = (
    *("nobody", "wrong_key", "device", "other_device", "fleet_key", "admin_key"),
    *("staff", "staff_without", "visitor"),
)

# `staff` has the one permission that a row ends with; `staff_without` has every permission but that one;
# `visitor` has all of them, but is no staff. Everything is asked about the device `mote-1`, as `device`.
MATRIX = """
#                         nobody wrong device other fleet admin staff without visitor
start              GET       302   302    302   302   302   302   302     302     302
start              POST      302   302    302   302   302   302   302     302     302
start              PUT       302   302    302   302   302   302   302     302     302
start              PATCH     302   302    302   302   302   302   302     302     302
start              DELETE    302   302    302   302   302   302   302     302     302
favicon            GET       302   302    302   302   302   302   302     302     302
favicon            POST      302   302    302   302   302   302   302     302     302
favicon            PUT       302   302    302   302   302   302   302     302     302
favicon            PATCH     302   302    302   302   302   302   302     302     302
favicon            DELETE    302   302    302   302   302   302   302     302     302
health             GET       200   200    200   200   200   200   200     200     200
schema             GET       200   200    200   200   200   200   200     200     200
docs               GET       200   200    200   200   200   200   200     200     200
redoc              GET       200   200    200   200   200   200   200     200     200
live-device        GET       302   302    302   302   302   302   200     403     302  readings.view_reading
ingest             POST      401   401    201   403   201   403   401     401     401
ingest-batch       POST      401   401    201   422   201   403   401     401     401
device-list        GET       401   401    403   403   403   200   200     403     403  devices.view_device
device-list        POST      401   401    403   403   403   201   201     403     403  devices.add_device
device-detail      GET       401   401    200   404   403   200   200     403     403  devices.view_device
device-detail      PATCH     401   401    403   403   403   200   200     403     403  devices.change_device
device-detail      DELETE    401   401    403   403   403   204   204     403     403  devices.delete_device
device-rotate-key  POST      401   401    403   403   403   200   200     403     403  devices.change_device
device-history     GET       401   401    200   404   403   200   200     403     403  readings.view_reading
device-aggregate   GET       401   401    200   404   403   200   200     403     403  readings.view_reading
device-latest      GET       401   401    200   404   403   200   200     403     403  readings.view_reading
realtime-tickets   POST      401   401    201   404   403   201   201     403     403  readings.view_reading
"""
ROWS = [line.split() for line in MATRIX.strip().splitlines()[1:]]
PERMISSIONS = {(name, method): rest[0] for name, method, *cells in ROWS if (rest := cells[len(CALLERS) :])}
EVERY_PERMISSION = sorted(set(PERMISSIONS.values()))
CELLS = [
    pytest.param(name, method, caller, int(status), id=f"{name}-{method}-{caller}")
    for name, method, *cells in ROWS
    for caller, status in zip(CALLERS, cells, strict=False)
]

READING = {"device_id": "mote-1", "temperature": 21.5}
BODIES = {
    ("ingest", "POST"): READING,
    ("ingest-batch", "POST"): [READING],
    ("device-list", "POST"): {"device_id": "mote-3"},
    ("device-detail", "PATCH"): {"name": "Roof"},
    ("device-rotate-key", "POST"): {"overlap_seconds": 0},
    ("realtime-tickets", "POST"): {"device_id": "mote-1"},
}


def routes(resolver, prefix=""):
    """(name, path, methods) of every route but the admin site's."""
    for entry in resolver.url_patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            if entry.app_name != "admin":
                yield from routes(entry, path)
        elif isinstance(entry, URLPattern):
            yield entry.name or path, path, methods(entry.callback)


def methods(view):
    """What a view answers, beside HEAD and OPTIONS; a plain function is taken to be a page."""
    names = {"get"}
    if actions := getattr(view, "actions", None):
        names = set(actions)
    elif view_class := getattr(view, "view_class", None) or getattr(view, "cls", None):
        names = {name for name in view_class.http_method_names if hasattr(view_class, name)}
    return {name.upper() for name in names} - {"HEAD", "OPTIONS"}


ROUTES = list(routes(get_resolver()))
OF_A_DEVICE = {name for name, path, _methods in ROUTES if "device_id" in path}


def url(name):
    return reverse(name, kwargs={"device_id": "mote-1"} if name in OF_A_DEVICE else None)


def encoded(name, method):
    return json.encode(BODIES[name, method]) if (name, method) in BODIES else b""


def visitor_client():
    client = staff_client("visitor", *EVERY_PERMISSION)
    User.objects.update(is_staff=False)
    return client


def client_of(caller, permission, keys):
    others = [other for other in EVERY_PERMISSION if other != permission]
    return {
        "nobody": lambda: client_with(None),
        "wrong_key": lambda: client_with("wrong-key-0123456789"),
        "device": lambda: client_with(keys["mote-1"]),
        "other_device": lambda: client_with(keys["mote-2"]),
        "fleet_key": lambda: client_with(FLEET_KEY),
        "admin_key": lambda: client_with(ADMIN_KEY),
        "staff": lambda: staff_client("operator", *filter(None, [permission])),
        "staff_without": lambda: staff_client("newcomer", *others),
        "visitor": visitor_client,
    }[caller]()


@pytest.fixture
def keys(mote, other_device):
    """The keys of two devices, of which the first has sent something."""
    client_with(mote[1]).post("/api/v1/ingest", READING)
    return {"mote-1": mote[1], "mote-2": other_device[1]}


def test_every_route_and_method_has_a_row():
    there_is = {(name, method) for name, _path, methods in ROUTES for method in methods}

    assert there_is == {(name, method) for name, method, *_ in ROWS}


@pytest.mark.parametrize(("name", "method", "caller", "expected"), CELLS)
def test_the_matrix(name, method, caller, expected, keys):
    client = client_of(caller, PERMISSIONS.get((name, method)), keys)

    response = client.generic(method, url(name), encoded(name, method), content_type="application/json")

    assert response.status_code == expected, response.content
    if expected >= 400 and url(name).startswith("/api/"):
        problem(response, expected)
    assert ("WWW-Authenticate" in response) == (expected == 401)


@pytest.mark.parametrize(("name", "method"), [row[:2] for row in ROWS if row[2] == "401"])
def test_who_is_refused_changes_nothing(name, method, keys, admin):
    before = admin.get("/api/v1/devices").json()

    for caller in ("nobody", "wrong_key", "other_device"):
        client_of(caller, None, keys).generic(method, url(name), encoded(name, method), content_type="application/json")

    assert admin.get("/api/v1/devices").json() == before


def test_a_superuser_needs_no_permission_by_name(device):
    client = staff_client("root")
    User.objects.update(is_superuser=True)

    assert client.get(url("device-list")).status_code == 200
    assert client.get(url("live-device")).status_code == 200


def test_an_account_that_was_closed_is_signed_out(device):
    client = staff_client("operator", *EVERY_PERMISSION)
    User.objects.update(is_active=False)

    problem(client.get(url("device-list")), 401)


def test_a_permission_that_is_taken_away_is_gone_at_once(device):
    client = staff_client("operator", "devices.view_device")
    assert client.get(url("device-list")).status_code == 200

    User.objects.get().user_permissions.clear()

    problem(client.get(url("device-list")), 403)


SESSION_WRITES = [(name, method) for name, method in BODIES if not name.startswith("ingest")] + [
    ("device-detail", "DELETE")
]


@pytest.mark.parametrize(("name", "method"), SESSION_WRITES)
def test_a_session_that_writes_needs_a_csrf_token(name, method, device):
    client = staff_client("operator", *EVERY_PERMISSION, enforce_csrf=True)
    body, token = encoded(name, method), "t" * 32

    without = client.generic(method, url(name), body, content_type="application/json")
    client.cookies["csrftoken"] = token
    with_token = client.generic(method, url(name), body, content_type="application/json", HTTP_X_CSRFTOKEN=token)

    assert "CSRF" in problem(without, 403)["detail"]
    assert 200 <= with_token.status_code < 300


def test_a_session_that_reads_needs_none(device):
    client = staff_client("operator", "devices.view_device", enforce_csrf=True)

    assert client.get(url("device-list")).status_code == 200


def test_a_key_needs_no_csrf_token_even_beside_a_session(device):
    client = staff_client("operator", enforce_csrf=True)

    assert client.post(url("device-list"), {"device_id": "mote-3"}, HTTP_X_API_KEY=ADMIN_KEY).status_code == 201
