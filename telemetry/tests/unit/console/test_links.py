"""Every link on every page works, for every kind of account that sees it."""

from collections import deque
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urldefrag, urljoin, urlsplit

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, User

from devices.tests.fixtures import client_with, new_client, staff_client
from readings.tests.logs import new, store

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

BEGINNINGS = ("/", "/admin/", "/live/", "/guide", "/docs", "/redoc", "/nowhere", "/live/mote-1/")
ACCOUNTS = {
    "root": None,
    "operator": "Operators",
    "viewer": "Viewers",
    "devices": ["devices.view_device"],
    "registrar": ["devices.add_device", "devices.change_device"],
    "readings": ["readings.view_reading"],
    "auditor": ["admin.view_logentry", "auth.view_user"],
    "manager": ["auth.view_user", "auth.add_user", "auth.change_user", "auth.change_group", "auth.delete_user"],
    "newcomer": [],
    "nobody": None,
}


class Links(HTMLParser):
    """The URLs that a page links to or loads."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        self.found += [known[name] for name in ("href", "src", "data-address") if known.get(name)]
        if tag == "form" and known.get("method", "get").lower() == "get" and known.get("action"):
            self.found.append(known["action"])


def client_of(name):
    if name == "nobody":
        return new_client()
    permissions = ACCOUNTS[name]
    client = staff_client(name, *(permissions if isinstance(permissions, list) else ()))
    if name == "root":
        User.objects.filter(username=name).update(is_superuser=True)
    elif isinstance(permissions, str):
        User.objects.get(username=name).groups.add(Group.objects.get(name=permissions))
    return client


def kind(address):
    """A URL's path and the names of its query parameters, to visit only one of each kind."""
    parts = urlsplit(address)
    return parts.path, tuple(sorted(name for name, _ in parse_qsl(parts.query)))


@pytest.mark.parametrize("name", ACCOUNTS)
def test_every_link_leads_somewhere(name, device):
    store([new()])
    client_with("tlm_zzzz" + "x" * 28).post("/api/v1/ingest", {"temperature": 1})
    colleague = User.objects.create_user("colleague")
    Group.objects.create(name="people")
    LogEntry.objects.log_actions(colleague.pk, [device, colleague], CHANGE, "Changed.")
    client = client_of(name)
    waiting = deque((start, "nowhere") for start in BEGINNINGS)
    seen, dead = set(), []

    while waiting:
        address, found_on = waiting.popleft()
        if kind(address) in seen or address.count("&"):  # one filter at a time
            continue
        seen.add(kind(address))
        response = client.get(address, follow=True)
        if response.status_code >= 400 and found_on != "nowhere":
            dead.append((address, found_on, response.status_code))
        if not response.get("Content-Type", "").startswith("text/html"):
            continue
        here = response.redirect_chain[-1][0] if response.redirect_chain else address
        for link in Links(response.content.decode()).found:
            joined = urldefrag(urljoin(here, link)).url
            if urlsplit(joined).netloc in ("", "testserver") and urlsplit(joined).scheme in ("", "http"):
                parts = urlsplit(joined)
                waiting.append((parts.path + (f"?{parts.query}" if parts.query else ""), address))

    assert dead == []
    assert len(seen) > 20


def test_signing_out_offers_to_sign_in_again_without_a_way_back_to_signing_out():
    client = staff_client("operator")
    page = client.post("/admin/logout/").content.decode()
    assert 'href="/admin/login/"' in page


@pytest.mark.parametrize(
    "wanted", ["https://evil.example.net/", "//evil.example.net", "javascript:alert(1)", "/\\evil"]
)
def test_a_refused_way_on_ends_at_the_first_page(wanted):
    User.objects.create_superuser("admin", password="correct horse battery")
    client = new_client()
    form = {"username": "admin", "password": "correct horse battery", "next": wanted}
    for address in ("/admin/login/", f"/admin/login/?next={wanted}"):
        response = client.post(address, form, format="multipart", follow=True)
        assert (response.redirect_chain, response.status_code) == ([("/admin/", 302)], 200)
        left = client.post(f"/admin/logout/?next={wanted}", {"next": wanted}, format="multipart", follow=True)
        assert left.status_code == 200
        assert all("evil" not in place.split("?")[0] for place, _ in left.redirect_chain)
