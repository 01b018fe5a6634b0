"""Alarms in a browser: a rule made in its form, and the alarm that it opens and resolves while pages are open."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from telemetry.tests.support.browser import CHROMIUM, barriers, faults_of, serious
from telemetry.tests.support.servers.server import ADMIN_KEY, FLEET_KEY, Server

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.once,
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium (Debian: apt-get install chromium)"),
]

# An evaluation has to open or resolve an alarm first.
JUDGED_MS = 15_000
EXPECTED_FAULTS = ("status of 409", "status of 422", "status of 503", "status of 404")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as server:
        for device_id in ("freezer", "cellar"):
            server.register(device_id)
            # Three times above 25, for a minute each.
            readings = [
                {"device_id": device_id, "age_seconds": age, "temperature": 28 if age % 3600 < 60 else 20}
                for age in range(10_800, 60, -30)
            ]
            headers = {"X-API-Key": FLEET_KEY}
            answer = httpx.post(f"{server.url}/api/v1/ingest/batch", json=readings, headers=headers)
            assert answer.status_code == 201, answer.text
        yield server


@pytest.fixture
def page(browser: Browser, account: Any) -> Iterator[Page]:
    context = browser.new_context(storage_state=account)
    page = context.new_page()
    faults = faults_of(page)
    yield page
    context.close()
    assert [fault for fault in serious(faults) if not any(part in fault for part in EXPECTED_FAULTS)] == []


def post(server: Server, **reading: Any) -> None:
    answer = httpx.post(f"{server.url}/api/v1/ingest", json=reading, headers={"X-API-Key": FLEET_KEY})
    assert answer.status_code == 201, answer.text


def api(server: Server, method: str, path: str, **body: Any) -> Any:
    answer = httpx.request(method, f"{server.url}/api/v1/{path}", json=body or None, headers={"X-API-Key": ADMIN_KEY})
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


@pytest.fixture
def no_rules(server: Server) -> None:
    for rule in api(server, "GET", "alarm-rules")["results"]:
        api(server, "DELETE", f"alarm-rules/{rule['id']}")


def bound(page: Page, **blanks: str) -> None:
    expect(page.locator("#form[inert]")).to_have_count(0)
    for blank, text in blanks.items():
        page.locator(f'[data-blank="{blank}"]').locator("visible=true").fill(text)


def test_from_the_form_to_an_alarm_that_opens_is_acknowledged_and_resolved(page, server, no_rules):
    page.goto(f"{server.url}/alarms/")
    expect(page.locator("#none-open")).to_contain_text("nothing is watched")
    page.locator("#none-open").get_by_role("link", name="Make a rule").click()
    expect(page.locator("#form[inert]")).to_have_count(0)
    page.select_option('[data-blank="side"]', "above")
    bound(page, above="25", **{"for": "0", "margin": "0", "clear": "0"})
    words = page.locator("#preview-words")
    expect(words).to_have_text("6 alarms in the last 7 days, on 2 of 2 devices.")
    expect(page.locator("#picture canvas")).to_be_visible()
    assert page.locator("#shown option").all_text_contents() == ["cellar: 3 alarms", "freezer: 3 alarms"]
    expect(page.locator("#name")).to_have_value(re.compile("Temperature above 25.°C"))
    page.select_option("#whom", "some")
    expect(words).to_have_text("Choose a device.")
    page.fill("#device-input", "freezer")
    expect(words).to_have_text("3 alarms in the last 7 days, on 1 of 1 device.")
    page.fill("#name", "Freezer too warm")
    page.fill("#text", "Check the door.")
    page.get_by_role("button", name="Make the rule").click()
    expect(page.locator(".rule")).to_contain_text("Freezer too warm")
    expect(page.locator(".rule")).to_contain_text("on freezer")

    page.goto(f"{server.url}/alarms/")
    expect(page.locator("#connection")).to_have_text("live")
    post(server, device_id="freezer", temperature=31.5)
    alarm = page.locator("#open .alarm")
    expect(alarm).to_contain_text("Freezer too warm", timeout=JUDGED_MS)
    expect(alarm).to_contain_text("31.5")
    expect(alarm).to_contain_text("Check the door.")
    expect(page.locator("#bell")).to_have_attribute("data-open", "1")

    alarm.get_by_role("button", name="Acknowledge").click()
    page.get_by_label("Comment").fill("On my way")
    page.keyboard.press("Enter")
    expect(alarm).to_contain_text("admin: On my way")
    assert barriers(page) == []

    fleet = page.context.new_page()
    fleet.goto(f"{server.url}/live/?alarms=open")
    expect(fleet.locator("#rows .fleet-row")).to_have_count(1)
    expect(fleet.locator("#rows .mark")).to_have_text("1 open alarm, warning")
    device = page.context.new_page()
    device.goto(f"{server.url}/live/freezer/")
    expect(device.locator("#alarms .alarm").first).to_contain_text("On my way")
    overview = page.context.new_page()
    overview.goto(f"{server.url}/admin/")
    expect(overview.locator(".open-alarms")).to_contain_text("1 open alarm")

    post(server, device_id="freezer", temperature=20)
    expect(page.locator("#resolved .alarm")).to_contain_text("Freezer too warm", timeout=JUDGED_MS)
    expect(page.locator("#open .alarm")).to_have_count(0)
    expect(page.locator("#bell .bar-bell-count")).to_be_hidden()
    expect(fleet.locator("#rows .fleet-row")).to_have_count(0)
    expect(device.locator("#alarms .alarm")).to_contain_text("for ")
    expect(device.locator("#alarms .alarm").get_by_role("button")).to_have_count(0)


def test_a_rule_is_switched_off_changed_and_deleted(page, server, no_rules):
    api(server, "POST", "alarm-rules", name="Hot", kind="threshold", metric="temperature", above=25)
    post(server, device_id="cellar", temperature=30)
    page.goto(f"{server.url}/alarms/")
    expect(page.locator("#open .alarm")).to_have_count(1, timeout=JUDGED_MS)

    page.goto(f"{server.url}/alarms/rules/")
    rule = page.locator(".rule")
    expect(rule).to_contain_text("1 open alarm")
    rule.get_by_role("switch").click()
    expect(rule.locator(".word")).to_have_text("off")
    expect(rule.get_by_role("link", name="open alarm")).to_be_hidden()
    assert api(server, "GET", "alarms")["results"] == []

    rule.get_by_role("link", name="Edit").click()
    expect(page.locator('[data-blank="above"]')).to_have_value("25")
    page.select_option('[data-blank="side"]', "below")
    bound(page, below="15")
    page.get_by_role("button", name="Save").click()
    expect(rule).to_contain_text("below 15")
    (changed,) = api(server, "GET", "alarm-rules")["results"]
    assert (changed["above"], changed["below"], changed["name"]) == (None, 15, "Hot")

    rule.get_by_role("button", name="Delete").click()
    page.keyboard.press("Escape")
    expect(rule).to_have_count(1)
    rule.get_by_role("button", name="Delete").click()
    assert barriers(page) == []
    page.get_by_role("button", name="Delete the rule").click()
    expect(rule).to_have_count(0)
    expect(page.locator("#none")).to_be_visible()
    assert api(server, "GET", "alarm-rules")["results"] == []


def test_what_is_wrong_is_said_beside_the_form(page, server, no_rules):
    page.goto(f"{server.url}/alarms/rules/new")
    bound(page, above="5", below="30")
    expect(page.locator("#wrong")).to_contain_text("every value would be outside")
    expect(page.locator('[data-blank="above"][aria-invalid="true"]')).to_be_visible()
    bound(page, above="warm")
    page.get_by_role("button", name="Make the rule").click()
    expect(page.locator("#wrong")).to_contain_text("Fill in this blank")
    expect(page.locator('[data-blank="above"]')).to_be_focused()
    bound(page, above="40")
    page.fill("#name", "")
    page.get_by_role("button", name="Make the rule").click()
    expect(page.locator("#wrong")).to_be_visible()
    assert api(server, "GET", "alarm-rules")["results"] == []


def test_each_ready_made_rule_can_be_made_as_it_is(page, server, no_rules):
    for name in ("Silent", "Out of range", "Battery low"):
        page.goto(f"{server.url}/alarms/rules/new")
        page.get_by_role("button", name=name).click()
        assert barriers(page) == []
        page.get_by_role("button", name="Make the rule").click()
        expect(page.locator(".rule-name", has_text=name)).to_be_visible()
    kinds = [rule["kind"] for rule in api(server, "GET", "alarm-rules")["results"]]
    assert kinds == ["silence", "threshold", "threshold"]


def test_filters_are_in_the_address_and_older_alarms_come_when_asked_for(page, server, no_rules):
    for severity in ("info", "critical"):
        api(
            server,
            "POST",
            "alarm-rules",
            name=f"Rule {severity}",
            kind="threshold",
            metric="light",
            above=1,
            severity=severity,
        )
    for n in range(40):
        post(server, device_id="cellar", light=n % 2 * 2)
    post(server, device_id="cellar", light=5)
    page.goto(f"{server.url}/alarms/?severity=critical")
    expect(page.locator("#open .alarm")).to_have_count(1)
    expect(page.locator("#open .alarm")).to_contain_text("Rule critical")
    page.locator('[data-severity-filter=""]').click()
    expect(page.locator("#open .alarm")).to_have_count(2)
    expect(page).to_have_url(re.compile(r"/alarms/$"))
    page.select_option("#rule", label="Rule info")
    expect(page.locator("#open .alarm")).to_have_count(1)
    expect(page).to_have_url(re.compile("rule="))
    page.goto(f"{server.url}/alarms/?device=freezer&severity=info")
    expect(page.locator("#no-match")).to_be_visible()
    page.locator("#clear").click()
    expect(page.locator("#open .alarm")).to_have_count(2)
    expect(page.locator("#resolved .alarm")).to_have_count(30)
    page.locator("#more-resolved").click()
    expect(page.locator("#resolved .alarm").nth(30)).to_be_visible()


def test_a_server_that_is_away_is_announced_and_a_comment_is_not_lost(page, server, no_rules):
    api(server, "POST", "alarm-rules", name="Hot", kind="threshold", metric="temperature", above=25)
    post(server, device_id="cellar", temperature=30)
    page.goto(f"{server.url}/alarms/")
    page.locator("#open .alarm").get_by_role("button", name="Acknowledge").click()
    page.get_by_label("Comment").fill("On my way")
    page.route("**/acknowledge", lambda route: route.fulfill(status=503, body="<html>", content_type="text/html"))
    page.keyboard.press("Enter")
    expect(page.locator(".alarm-failure")).to_contain_text("Not acknowledged: The server answered with status 503.")
    expect(page.get_by_label("Comment")).to_have_value("On my way")
    page.unroute("**/acknowledge")
    page.keyboard.press("Enter")
    expect(page.locator("#open .alarm")).to_contain_text("admin: On my way")
    post(server, device_id="cellar", temperature=20)


def test_a_channel_is_chosen_in_a_rule(page, server, no_rules):
    page.goto(f"{server.url}/alarms/rules/new")
    expect(page.get_by_role("link", name="Make a channel")).to_be_visible()
    channel = api(server, "POST", "channels", name="Desk", kind="webhook", target="http://127.0.0.1:9/hook")
    page.reload()
    page.get_by_role("button", name="Out of range").click()
    page.get_by_label("Desk").check()
    page.select_option("#repeat", label="every 4 h")
    page.get_by_role("button", name="Make the rule").click()
    expect(page.locator(".rule")).to_have_count(1)
    (rule,) = api(server, "GET", "alarm-rules")["results"]
    assert (rule["channels"], rule["repeat"]) == ([channel["id"]], 14_400)
    page.get_by_role("link", name="Edit").click()
    expect(page.get_by_label("Desk")).to_be_checked()
    expect(page.locator("#repeat")).to_have_value("14400")


def test_a_rule_and_a_device_are_muted_for_a_while(page, server, no_rules):
    rule = api(server, "POST", "alarm-rules", name="Hot", kind="threshold", metric="temperature", above=25)
    post(server, device_id="cellar", temperature=30)
    page.goto(f"{server.url}/alarms/")
    alarm = page.locator("#open .alarm")
    alarm.get_by_role("button", name="Mute: Hot").click()
    page.get_by_label("What to mute").select_option(label="this device: cellar")
    page.get_by_label("For how long").select_option(label="8 hours")
    page.get_by_role("button", name="Mute", exact=True).click()
    expect(alarm).to_contain_text("muted until")
    assert api(server, "GET", "devices/cellar/mute")["muted_until"]
    page.reload()
    alarm.get_by_role("button", name="Unmute").click()
    expect(alarm).not_to_contain_text("muted until")
    assert api(server, "GET", "devices/cellar/mute")["muted_until"] is None

    page.goto(f"{server.url}/alarms/rules/")
    page.get_by_role("button", name="Mute Hot").click()
    assert barriers(page) == []
    page.get_by_role("button", name="Mute", exact=True).click()
    expect(page.locator(".rule")).to_contain_text("muted until")
    assert api(server, "GET", f"alarm-rules/{rule['id']}")["muted_until"]
    page.get_by_role("button", name="Unmute Hot").click()
    expect(page.locator(".rule")).not_to_contain_text("muted until")
    post(server, device_id="cellar", temperature=20)


def test_tags_filter_the_alarms_and_are_muted(page, server, no_rules):
    for device_id, tags in {"cellar": ["cold", "north"], "freezer": ["cold"]}.items():
        api(server, "PATCH", f"devices/{device_id}", tags=tags)
    api(server, "POST", "alarm-rules", name="Hot", kind="threshold", metric="temperature", above=25)
    for device_id in ("cellar", "freezer"):
        post(server, device_id=device_id, temperature=30)
    page.goto(f"{server.url}/alarms/")
    alarms = page.locator("#open .alarm")
    expect(alarms).to_have_count(2, timeout=JUDGED_MS)
    tags = page.locator("#tags")
    for name, number in (("cold", 2), ("north", 1)):
        tags.get_by_role("button", name=name).click()
        expect(alarms).to_have_count(number)
    expect(page).to_have_url(re.compile(r"/alarms/\?tag=cold&tag=north$"))
    tags.get_by_role("button", name="north").click()
    page.get_by_role("button", name="Acknowledge all 2").click()
    page.locator("#comment-all").fill("Power is out")
    assert barriers(page) == []
    page.keyboard.press("Enter")
    expect(alarms.filter(has_text="admin: Power is out")).to_have_count(2)
    expect(page.locator("#all-open")).to_be_hidden()
    assert all(alarm["comment"] == "Power is out" for alarm in api(server, "GET", "alarms")["results"])
    tags.get_by_role("button", name="north").click()
    expect(alarms).to_have_count(1)
    alarms.get_by_role("button", name="Mute: Hot").click()
    page.get_by_label("What to mute").select_option(label="devices tagged north")
    page.get_by_role("button", name="Mute", exact=True).click()
    expect(alarms).to_contain_text("muted until")

    page.goto(f"{server.url}/live/cellar/")
    expect(page.locator("#mutes")).to_contain_text("The tag north is muted until")
    page.get_by_role("button", name="Unmute the tag north").click()
    page.locator("#mutes").get_by_role("button", name="Mute alarms of this device").click()
    page.get_by_role("button", name="Mute", exact=True).click()
    expect(page.locator("#mutes")).to_contain_text("This device is muted until")
    assert api(server, "GET", "tags/north/mute")["muted_until"] is None
    assert api(server, "GET", "devices/cellar/mute")["muted_until"]

    page.goto(f"{server.url}/live/?tag=cold&tag=north")
    expect(page.locator("#tag-alarms")).to_contain_text("1 open alarm")
    page.get_by_role("button", name="Mute alarms of the tag cold or the tag north").click()
    page.get_by_role("button", name="Mute", exact=True).click()
    expect(page.locator("#tag-mutes")).to_contain_text("The tag cold is muted until")
    assert barriers(page) == []
    page.get_by_role("link", name="Acknowledge or mute them").click()
    expect(alarms).to_have_count(1)
