"""Renders the Markdown documents in `docs/` as HTML, with this server's address filled in."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import slugify
from markdown_it import MarkdownIt
from markdown_it.token import Token

from readings.doors.switches import Door, is_open

FOLDER = Path(settings.BASE_DIR, "docs")
# HTML in the documents is not interpreted but shown as text.
markdown = MarkdownIt("commonmark", {"html": False}).enable("table")

# Title in the guide's menu and file, by the last part of the page's address.
PAGES = {
    "quick-start": ("Quick start", "quick-start.md"),
    "connect": ("Connect a device", "connect.md"),
    "doors": ("Other protocols", "doors.md"),
    "mqtt": ("MQTT", "mqtt.md"),
    "http-api": ("HTTP API", "http-api.md"),
    "fleet": ("Tags and many devices", "fleet.md"),
    "access": ("Tokens and accounts", "access.md"),
    "explore": ("Compare devices", "explore.md"),
    "metrics": ("Metrics", "metrics.md"),
    "live": ("Live protocol", "live.md"),
    "recipes": ("Recipes", "recipes.md"),
    "import": ("Import CSV files", "import.md"),
    "alarms": ("Alarms", "alarms.md"),
    "rollups-and-retention": ("Rollups, sealing, retention", "rollups-and-retention.md"),
    "operations": ("Operations", "operations.md"),
    "scaling": ("Several machines", "scaling.md"),
    "observability": ("Observability", "observability.md"),
    "security": ("Security", "security.md"),
    "migrations": ("Upgrades", "migrations.md"),
}
PAGES_BY_FILE = {file: page for page, (_, file) in PAGES.items()}

ADDRESSES = re.compile(r"\b(http|ws)s?://(?:127\.0\.0\.1:8000|telemetry\.example\.org|HOST)\b")
# The same address in a configuration that has its parts on lines of their own.
ADDRESS_PARTS = re.compile(r"host: 127\.0\.0\.1\n( +)port: 8000\n +ssl: false")
# The other way to name this server in docs/connect.md: the host and the port of MQTT.
MQTT_HOST, MQTT_PORT = "127.0.0.1", re.compile(r"\b1883\b")
FOR_MQTT = ("mqtt", "mqtt-with-python", "mqtt-with-arduino", "tasmota", "esphome-with-mqtt")
# The device's key and id in docs/connect.md.
KEY, DEVICE = "tlm_…", "greenhouse-7"
# Rendered documents kept in the cache; each server address by which clients come has its own.
RENDERED = 64


class Heading(NamedTuple):
    """`level` 2 or 3; `slug` is its id on the page."""

    level: int
    slug: str
    title: str


class Document(NamedTuple):
    html: SafeString
    headings: list[Heading]


def server_address(request: HttpRequest) -> str:
    """The scheme, host and port that the client used for this request, such as `https://example.org:8000`."""
    return f"{request.scheme}://{request.get_host()}"


def text_of(file: str, address: str) -> str:
    """The Markdown text of a document, with this server's address in place of the example addresses."""

    def filled_in(match: re.Match[str]) -> str:
        return address if match[1] == "http" else address.replace("http", "ws", 1)

    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    lines = rf"host: {parts.hostname}\n\1port: {port}\n\1ssl: {str(parts.scheme == 'https').lower()}"
    text = ADDRESS_PARTS.sub(lines, ADDRESSES.sub(filled_in, (FOLDER / file).read_text()))
    if file == "connect.md" and settings.MQTT_PORT:
        text = MQTT_PORT.sub(str(settings.MQTT_PORT), text.replace(MQTT_HOST, parts.hostname or ""))
    return text


@lru_cache(RENDERED)
def rendered(file: str, address: str) -> Document:
    tokens = markdown.parse(text_of(file, address))
    headings = list(mark_headings(tokens))
    for token in tokens:
        token.children = list(with_links(token.children or ())) if token.children else token.children
    html = markdown.renderer.render(tokens, markdown.options, {})
    # A table can be wider than a phone's screen, so it scrolls by itself.
    html = html.replace("<table>", '<div class="scroll" tabindex="0"><table>').replace("</table>", "</table></div>")
    return Document(mark_safe(html), headings)  # noqa: S308  rendered from our own files, with HTML disabled


def with_links(children: Sequence[Token]) -> Iterator[Token]:
    """The tokens of a line with links resolved to this server; a link to a file not served becomes plain text.

    Pictures are left out.
    """
    kept: list[bool] = []
    for child in children:
        if child.type == "link_open":
            target = resolved(str(child.attrGet("href")))
            child.attrSet("href", target)
            kept.append(target.startswith(("/", "#", "http://", "https://")))
        # Pictures of the documents are for the repository's pages; this server does not have them.
        if child.type != "image" and (child.type not in ("link_open", "link_close") or kept[-1]):
            yield child
        if child.type == "link_close":
            kept.pop()


def mark_headings(tokens: list[Token]) -> list[Heading]:
    """Sets an id on each heading of level 2 or 3; returns these headings for a table of contents."""
    headings: list[Heading] = []
    for token, inline in pairwise(tokens):
        if token.type == "heading_open" and token.tag in ("h2", "h3"):
            title = "".join(child.content for child in inline.children or ())
            headings.append(Heading(int(token.tag[1]), slugify(title), title))
            token.attrSet("id", headings[-1].slug)
    return headings


def resolved(link: str) -> str:
    """The address on this server of a link between files: a page of the guide or a static file; others unchanged."""
    file, hash_sign, anchor = link.partition("#")
    if page := PAGES_BY_FILE.get(file):
        return reverse("guide", args=[page]) + hash_sign + anchor
    return re.sub(r"^\.\./\w+/static/", settings.STATIC_URL, link)


class Snippet(NamedTuple):
    """Example code for one kind of device: `title` and `slug` of its heading, `intro` as HTML, `code` as text."""

    title: str
    slug: str
    intro: SafeString
    code: str


def snippets(*, address: str, key: str | None, device_id: str | None) -> list[Snippet]:
    """The code examples in docs/connect.md, with the address filled in, and the key and the device if not None.

    Without those for MQTT if it is switched off.
    """
    mqtt = is_open(Door.MQTT) and bool(settings.MQTT_PORT)
    found: list[Snippet] = []
    tokens = markdown.parse(text_of("connect.md", address))
    headings = mark_headings(tokens)
    titles, intro = iter(headings), ""
    heading = None
    for token in tokens:
        if token.type == "heading_open" and token.tag == "h2":
            heading, intro = next(titles), ""
        elif token.type == "inline" and heading and token.content != heading.title:
            token.children = list(with_links(token.children or ()))
            intro = markdown.renderer.render([token], markdown.options, {})
        elif token.type == "fence" and heading:
            code = token.content.rstrip()
            code = code.replace(KEY, key or KEY).replace(DEVICE, device_id or DEVICE)
            if heading.slug in FOR_MQTT and not mqtt:
                continue
            found.append(Snippet(heading.title, heading.slug, mark_safe(intro), code))  # noqa: S308  as above
    return found
