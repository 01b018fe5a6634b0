"""`/live/<device_id>/`: who may see it, and that it loads scripts only from this server."""

import json
import re
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.staticfiles import finders
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from devices.models import Device, DeviceState
from devices.tests.fixtures import client_with, staff_client
from readings.tests.logs import at, new, store, utc
from readings.windows import EARLIEST
from realtime.pages import addresses
from realtime.protocol.frames import moment

pytestmark = [pytest.mark.django_db, pytest.mark.once]

PAGE = "/live/mote-1/"


class Elements(HTMLParser):
    """Collects a page's elements: name, attributes and direct text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), []))

    def handle_data(self, data: str) -> None:
        if self.found:
            self.found[-1][2].append(data.strip())

    def named(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes, _ in self.found if tag == name]


@pytest.fixture
def viewer(db):
    return staff_client("viewer", "readings.view_reading", "readings.view_rejection", "devices.view_device")


def page_of(client, path=PAGE):
    response = client.get(path)
    assert response.status_code == 200, response.content
    return Elements(response.content.decode())


def facts_of(page):
    """The JSON that the page passes to its script."""
    return next(json.loads("".join(texts)) for tag, attributes, texts in page.found if attributes.get("id") == "device")


def test_it_sends_anyone_to_the_login_and_back(device):
    response = Client().get(PAGE)
    assert (response.status_code, response["Location"]) == (302, f"/admin/login/?next={PAGE}")


def test_an_account_that_is_no_staff_has_to_sign_in_as_one_that_is(device):
    user = User.objects.create_user("stranger")
    user.user_permissions.add(Permission.objects.get(codename="view_reading"))
    client = Client()
    client.force_login(user)
    assert client.get(PAGE).status_code == 302


def test_staff_without_leave_to_view_readings_may_not(device):
    assert staff_client("newcomer", "devices.view_device").get(PAGE).status_code == 403


def test_a_session_cookie_with_a_nul_in_it_is_no_fault_of_ours(device):
    """A quoted cookie can contain any byte, but PostgreSQL rejects NUL in a text."""
    client = Client(raise_request_exception=False)
    assert client.get(PAGE, headers={"Cookie": r'sessionid="abcdefgh\000"'}).status_code in (302, 400)


@pytest.mark.parametrize("path", ["/live/mote-9/", "/live/mote%201/", "/live/mote-1%00/"])
def test_of_a_device_there_is_not_there_is_no_page(viewer, device, path):
    assert viewer.get(path).status_code == 404


def test_a_key_opens_no_page(admin, device):
    assert admin.get(PAGE).status_code == 302


def test_it_is_only_for_looking(viewer, device):
    assert viewer.post(PAGE, {}).status_code == 405


def test_it_names_the_device_and_its_position(viewer, device):
    store([new(), new(), new()])
    facts = facts_of(page_of(viewer))
    assert (facts["device_id"], facts["last_seq"], facts["interval"]) == ("mote-1", 3, 60)


@pytest.mark.parametrize(
    ("length", "words"),
    [(0, "0 readings"), (1, "1 reading"), (2, "2 readings"), (1001, "1,001 readings"), (26931, "26,931 readings")],
)
def test_its_numbers_are_for_people(viewer, device, length, words):
    DeviceState.objects.filter(device=device).update(last_seq=length)
    text = re.sub("<[^>]*>", "", viewer.get(PAGE).content.decode())
    assert re.search(rf"(?<![\d,]){words} in the log", text)


def test_it_shows_the_newest_values_and_readings_by_their_own_time(viewer, device, as_device):
    """A device posts a value, and then what it buffered before."""
    backlog = json.loads((Path(__file__).parents[1] / "javascript/data/backlog.json").read_text())
    as_device.post("/api/v1/ingest", {"temperature": 31.0, "rssi": -61})
    as_device.post("/api/v1/ingest/batch", backlog)
    facts = facts_of(page_of(viewer))

    temperature, rssi = facts["latest"]["temperature"], facts["latest"]["rssi"]
    assert (temperature["value"], temperature["seq"], rssi["value"]) == (31.0, 1, -61)
    assert temperature["timestamp"] == facts["recent"][0]["timestamp"]
    ages = sorted(reading["age_seconds"] for reading in backlog)
    by_age = {reading["age_seconds"]: reading["temperature"] for reading in backlog}
    assert [reading["temperature"] for reading in facts["recent"]] == [31.0, *(by_age[age] for age in ages[:11])]


def test_a_history_imported_newest_first_shows_its_newest_value_and_was_never_seen(viewer, device):
    for hours in range(30):
        store([new(timestamp=at(-3600 * hours), temperature=float(hours))], received_at=None)
    page = page_of(viewer)
    facts = facts_of(page)
    assert facts["latest"]["temperature"] == {"value": 0.0, "timestamp": moment(at(0)), "seq": 1}
    assert [reading["temperature"] for reading in facts["recent"]] == [float(hours) for hours in range(12)]
    assert (facts["last_seen_at"], facts["status"]) == (None, "never")
    (seen,) = [texts for _, attributes, texts in page.found if attributes.get("id") == "last-seen"]
    assert "".join(seen) == ""


def test_it_knows_since_when_there_are_readings(viewer, device):
    assert facts_of(page_of(viewer))["began_at"] is None
    store([new(timestamp=at(60)), new(timestamp=at(0))])
    assert facts_of(page_of(viewer))["began_at"] == "2026-05-09T12:00:00Z"


@pytest.mark.parametrize("began", ["1970-01-01T00:00:00Z", "1970-01-01T13:30:00Z", "1970-01-02T00:00:00Z"])
def test_all_can_begin_with_the_first_second_that_a_log_can_hold(viewer, device, began):
    first = utc(began)
    assert first >= EARLIEST
    store([new(timestamp=at(0)), new(timestamp=first), new(timestamp=first + timedelta(hours=2))], received_at=None)
    window = {"start": facts_of(page_of(viewer))["began_at"], "end": "2026-05-09T12:00:01Z"}
    for more in ({}, {"bucket": "auto", "points": 600}):
        answer = viewer.get("/api/v1/devices/mote-1/aggregate", window | more).json()
        parts = [bucket["metrics"] for bucket in answer["buckets"]] if more else [answer["metrics"]]
        assert sum(part["temperature"]["count"] for part in parts) == 3


def test_it_shows_a_name_as_text_whatever_it_is(viewer):
    Device.objects.register(device_id="sly", name="<script>alert(1)</script>")
    page = page_of(viewer, "/live/sly/")
    assert not [texts for tag, _, texts in page.found if tag == "script" and "alert(1)" in texts]
    assert any("<script>alert(1)</script>" in "".join(texts) for tag, _, texts in page.found if tag == "h1")


def test_it_has_no_script_in_it(viewer, device):
    page = page_of(viewer)
    scripts = page.named("script")
    assert any("src" in script for script in scripts)
    assert all("src" in script or script.get("type") == "application/json" for script in scripts)
    for _, attributes, _ in page.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert not [value for value in attributes.values() if value and value.startswith("javascript:")]


def test_all_it_loads_is_served_from_here(viewer, device):
    page = page_of(viewer)
    addresses = [script["src"] for script in page.named("script") if "src" in script]
    addresses += [link["href"] for link in page.named("link")]
    assert len(addresses) >= 3
    for address in addresses:
        assert address
        assert address.startswith("/static/")
        assert finders.find(address.removeprefix("/static/"))


def test_it_costs_a_handful_of_queries_however_long_the_log_is(viewer, device):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            page_of(viewer)
        return len(captured)

    few = queries()
    store([new() for _ in range(200)])
    assert queries() <= few <= 10


def test_it_says_what_was_refused_and_why(viewer, device, as_device):
    as_device.post("/api/v1/ingest", {"temperature": "<b>warm</b>"})
    for path in (PAGE, f"{PAGE}refused/"):
        html = viewer.get(path).content.decode()
        assert "422 invalid" in html
        assert "<b>warm" not in html


def test_while_nothing_has_come_it_lists_posts_of_nobody_too(viewer, device):
    client_with("tlm_zzzz" + "x" * 28).post("/api/v1/ingest", {"temperature": 1})
    assert "tlm_zzzz…" in viewer.get(PAGE).content.decode()
    store([new()])
    assert "tlm_zzzz…" not in viewer.get(PAGE).content.decode()


def test_only_who_may_change_devices_is_led_to_rotating(viewer, device):
    assert "Rotate key" not in viewer.get(PAGE).content.decode()
    operator = staff_client("operator", "readings.view_reading", "devices.change_device", "devices.view_device")
    assert "Rotate key" in operator.get(PAGE).content.decode()


def code_in(page):
    """The address that the code of each kind of device posts to, by its tab."""
    panels = re.findall(r'id="code-([\w-]+)".*?(http://[^/]+)/api/v1/ingest', page, re.DOTALL)
    return dict(panels)


@pytest.mark.parametrize(
    ("host", "listens", "network", "device_address", "curl_address", "note"),
    [
        (
            "127.0.0.1:8000",
            "127.0.0.1",
            "192.168.1.5",
            "http://192.168.1.5:8000",
            "http://127.0.0.1:8000",
            "again with",
        ),
        ("localhost:8123", "127.0.0.1", "10.0.0.7", "http://10.0.0.7:8123", "http://localhost:8123", "again with"),
        ("127.0.0.1:8000", "0.0.0.0", "192.168.1.5", "http://192.168.1.5:8000", "http://192.168.1.5:8000", "opened"),
        ("localhost", "0.0.0.0", "192.168.1.5", "http://192.168.1.5", "http://192.168.1.5", "opened this page"),
        ("127.0.0.1:8000", "127.0.0.1", None, "http://127.0.0.1:8000", "http://127.0.0.1:8000", "Only this machine"),
        ("testserver", "0.0.0.0", "192.168.1.5", "http://testserver", "http://testserver", ""),
        ("testserver", "127.0.0.1", "192.168.1.5", "http://testserver", "http://testserver", ""),
    ],
)
def test_the_code_has_an_address_that_the_device_reaches(
    viewer, device, settings, monkeypatch, host, listens, network, device_address, curl_address, note
):
    settings.HOST = listens
    monkeypatch.setattr(addresses, "network_address", lambda: network)
    operator = staff_client("operator", "devices.add_device")
    added = operator.post("/admin/devices/device/add/", {"device_id": "mote-7"}, format="multipart")

    for client, page in ((viewer, PAGE), (operator, added["Location"])):
        html = client.get(page, headers={"Host": host}).content.decode()
        code = code_in(html)
        assert {code["arduino"], code["micropython"], code["esphome"]} == {device_address}
        assert {code["curl"], code["python"]} == {curl_address}
        noted = any(words in html for words in ("server again with", "Only this machine", "opened this page"))
        assert noted is bool(note)
        assert note in html
