"""`GET /api/v1/changes`: who changed what and how, with the values before and after."""

import pytest
from django.contrib.auth.models import Group, User

from devices.models import Device
from devices.tests.fixtures import problem, staff_client, token_client

pytestmark = pytest.mark.django_db

URL = "/api/v1/changes"


def changes(client, **query):
    answer = client.get(URL, query)
    assert answer.status_code == 200, answer.content
    return answer.json()["results"]


def newest(client, *names):
    """These members of the newest change."""
    change = changes(client)[0]
    return [change[name] for name in names]


WHAT = ("actor", "via", "action", "change", "before", "after")


def test_a_change_has_who_how_and_the_values_before_and_after(admin, device):
    admin.patch("/api/v1/devices/mote-1", {"name": "Roof", "report_interval": 30})
    before, after = {"name": "North window", "report_interval": None}, {"name": "Roof", "report_interval": 30}
    words = "Changed Name and Report interval."
    assert newest(admin, *WHAT) == ["API key", "api_key", "changed", words, before, after]
    assert newest(admin, "object", "device_id") == [
        {"kind": "device", "id": str(device.pk), "name": "mote-1"},
        "mote-1",
    ]


def test_a_token_and_an_account_are_named(admin, device):
    token_client("manage", name="Robot").patch("/api/v1/devices/mote-1", {"name": "A"})
    assert newest(admin, "actor", "via") == ["Robot", "token"]
    staff_client("ada", "devices.change_device").patch("/api/v1/devices/mote-1", {"name": "B"})
    assert newest(admin, "actor", "via") == ["ada", "console"]


def test_a_form_of_the_console_has_the_values_too(admin, admin_client, device):
    form = {"name": "Roof", "is_active": "on", "location": "", "notes": "", "report_interval": "", "retention_days": ""}
    page = f"/admin/devices/device/{device.pk}/change/"
    assert admin_client.post(page, form | {"tag_names": "own"}).status_code == 302
    before, after = {"name": "North window", "tag_names": ""}, {"name": "Roof", "tag_names": ["own"]}
    assert newest(admin, *WHAT[:3]) == ["admin", "console", "changed"]
    assert newest(admin, "before", "after") == [before, after]


@pytest.mark.parametrize("active", [True, False])
def test_changes_of_many_devices_have_a_detail_each(admin, admin_client, device, active):
    Device.objects.register(device_id="mote-2")
    Device.objects.update(is_active=not active)
    chosen = {
        "action": "activate" if active else "deactivate",
        "_selected_action": list(Device.objects.values_list("pk", flat=True)),
    }
    page = admin_client.post("/admin/devices/device/", chosen).content.decode()
    confirmed = page.split('name="confirmed" value="')[1].split('"')[0]
    admin_client.post("/admin/devices/device/", chosen | {"confirmed": confirmed})
    found = changes(admin)
    assert {change["device_id"] for change in found} == {"mote-1", "mote-2"}
    assert {(change["before"]["is_active"], change["after"]["is_active"]) for change in found} == {(not active, active)}


def test_tags_and_what_is_new_or_deleted_have_their_values(admin, device):
    admin.post("/api/v1/tags", {"name": "roof", "colour": "red"})
    assert newest(admin, "action", "before")[:2] == ["added", {}]
    assert newest(admin, "after")[0]["colour"] == "red"
    admin.patch("/api/v1/tags/roof", {"colour": "blue"})
    assert newest(admin, "before", "after") == [{"colour": "red"}, {"colour": "blue"}]
    admin.patch("/api/v1/devices/mote-1", {"tags": ["roof"]})
    assert newest(admin, "before", "after") == [{"tags": []}, {"tags": ["roof"]}]
    admin.patch("/api/v1/devices/mote-1", {"tags": []})
    admin.delete("/api/v1/tags/roof")
    assert newest(admin, "action", "after") == ["deleted", {}]
    assert newest(admin, "before")[0]["name"] == "roof"


def test_tokens_and_accounts_are_logged_without_their_secrets(admin, admin_client):
    made = admin.post("/api/v1/tokens", {"name": "Robot", "scopes": ["read"]}).json()
    assert newest(admin, "action", "object")[0] == "added"
    role = Group.objects.get(name="Viewers").pk
    admin_client.post("/admin/auth/user/add/", {"username": "ada", "email": "", "role": role, "limit_names": ""})
    change = changes(admin)[0]
    assert (change["object"]["name"], change["after"]["role"]) == ("ada", "Viewers")
    admin.delete(f"/api/v1/tokens/{made['id']}")
    text = admin.get(URL).content.decode()
    assert newest(admin, "before")[0]["scopes"] == "read"
    for secret in (made["token"], User.objects.get(username="ada").password):
        assert secret not in text


def test_a_command_is_named(admin, capsys):
    from django.core.management import call_command

    call_command("register_device", "mote-9")
    assert newest(admin, "actor", "via", "device_id") == ["Command line", "command", "mote-9"]


def test_a_caller_sees_the_kinds_of_objects_that_it_may_see(admin, device):
    admin.post("/api/v1/tokens", {"name": "Robot", "scopes": ["read"]})
    admin.post("/api/v1/tags", {"name": "roof"})
    admin.patch("/api/v1/devices/mote-1", {"name": "Roof"})
    reader = token_client("read")
    assert {change["object"]["kind"] for change in changes(admin)} == {"apitoken", "tag", "device"}
    assert {change["object"]["kind"] for change in changes(reader)} == {"tag", "device"}
    viewer = staff_client("viewer", "admin.view_logentry", "devices.view_tag")
    assert {change["object"]["kind"] for change in changes(viewer)} == {"tag"}


def test_pages_and_the_filter_of_a_device(admin, device, django_assert_num_queries):
    Device.objects.register(device_id="mote-2")
    for n in range(5):
        admin.patch("/api/v1/devices/mote-1", {"name": str(n)})
        admin.patch("/api/v1/devices/mote-2", {"name": str(n)})
    first = admin.get(URL, {"limit": 3, "device_id": "mote-1"}).json()
    with django_assert_num_queries(1):
        second = admin.get(first["next"]).json()
    names = [change["after"]["name"] for change in first["results"] + second["results"]]
    assert names == ["4", "3", "2", "1", "0"]
    assert second["next"] is None


@pytest.mark.parametrize("query", [{"limit": 0}, {"cursor": "x"}, {"cursor": "0"}, {"device_id": "-"}, {"actor": "x"}])
def test_invalid_parameters_are_refused(admin, query):
    assert problem(admin.get(URL, query), 422)["errors"][0]["field"] in query
