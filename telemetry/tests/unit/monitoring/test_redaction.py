"""Secrets that log lines and error pages hide, and text that they keep."""

import logging
import sys

import pytest
from django.http import HttpRequest

from devices.keys import key_hint
from devices.tests.fixtures import ADMIN_KEY, FLEET_KEY
from telemetry.monitoring.logging import logging_config
from telemetry.monitoring.redaction import redact_line, redacted

pytestmark = pytest.mark.once

KEY = "tlm_k3Y-k3Y_k3Y-k3Y_k3Y-k3Y_k3Y-k3Y_"
TICKET = "Gq3-_ticketticketticketticket"

LINES = [
    f"the key is {KEY}",
    f"an API token: {KEY.replace('tlm', 'tlt')}",
    f"GET /admin/set-password/MQ/{TICKET}/ 302",
    f"a settings key, {ADMIN_KEY}",
    f"a gateway's, {FLEET_KEY}!",
    f"GET /api/v1/realtime/subscribe/mote-1?after=3&ticket={TICKET} HTTP/1.1",
    f"POST /api/v1/ingest?api_key={TICKET}",
    f"GET /share/{TICKET}abc/statistics?points=60 200",
    f"WebSocket /api/v1/realtime/share/{TICKET}abc 4401",
    f"< x-api-key: {TICKET}",
    f"< Authorization: Bearer {TICKET}",
    f"Cookie: csrftoken=abc; sessionid={TICKET}",
    f"{{'x-api-key': '{TICKET}'}}",
    f'{{"Authorization": "Bearer {TICKET}"}}',
    f"[(b'x-api-key', b'{TICKET}'), (b'host', b'testserver')]",
    f"username=admin&password={TICKET}",
]


@pytest.mark.parametrize("line", LINES)
def test_it_is_hidden(line):
    shown = redacted(line)

    assert "[hidden]" in shown
    for secret in (KEY, ADMIN_KEY, FLEET_KEY, TICKET):
        assert secret not in shown


@pytest.mark.parametrize(
    "line",
    [
        "GET /api/v1/devices/mote-1/history?start=-1h&limit=10 200",
        "Invalid key: it is unknown, expired, revoked, or its device is inactive.",
        f"the key starts with {key_hint(KEY)}",
        "rotate-key of greenhouse-7",
        "tickets: 3",
    ],
)
def test_what_is_none_is_left(line):
    assert redacted(line) == line


def test_the_rest_of_the_line_is_left():
    assert redacted(f"GET /x?ticket={TICKET}&after=3 by {KEY}, ok") == (
        f"GET /x?ticket=[hidden]&after=3 by {key_hint(KEY)}[hidden], ok"
    )


@pytest.mark.parametrize("secret", ['quotes"and\\slashes-0123456789', "<tags>&amp-0123456789", "ümläute 0123456789"])
def test_a_secret_is_known_in_any_spelling(settings, secret):
    import html
    import json
    from urllib.parse import quote

    settings.API_SECRET_KEY = secret

    for spelling in (secret, json.dumps(secret), html.escape(secret), quote(secret, safe="")):
        assert redacted(f"it is {spelling} here").count("[hidden]") == 1


@pytest.mark.parametrize("output", ["console", "json"])
def test_a_line_and_its_traceback_show_none(output, capsys):
    formatter = logging_config(level="DEBUG", output=output)["formatters"]["structured"].copy()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter.pop("()")(**formatter))
    logger = logging.Logger("test")
    logger.addHandler(handler)

    try:
        raise ValueError(f"no such key: {KEY}")
    except ValueError:
        logger.exception("It failed for %s", ADMIN_KEY)

    written = capsys.readouterr().err
    assert "ValueError" in written
    assert KEY not in written
    assert ADMIN_KEY not in written


@pytest.mark.django_db
def test_with_debug_on_an_error_page_shows_none(settings, anyone, monkeypatch):
    def fail(request: HttpRequest, key_in_a_variable: str = KEY):
        api_secret = [ADMIN_KEY]
        raise ValueError(f"{api_secret} {key_in_a_variable}")

    settings.DEBUG = True
    monkeypatch.setattr("telemetry.health.database_probe.look", lambda: fail(HttpRequest()))

    page = anyone.get(f"/health?ticket={TICKET}", HTTP_X_API_KEY=FLEET_KEY, HTTP_ACCEPT="text/html")
    missing = anyone.get(f"/nothing?api_key={KEY}", HTTP_ACCEPT="text/html")

    assert (page.status_code, missing.status_code) == (500, 404)
    assert int(page["Content-Length"]) == len(page.content)
    assert "Traceback" in page.content.decode()
    for secret in (KEY, ADMIN_KEY, FLEET_KEY, TICKET):
        assert secret not in page.content.decode() + missing.content.decode()


@pytest.mark.parametrize("end", ["\n", "\\n", ""])
def test_no_line_quotes_a_row_that_postgresql_refused(end):
    quoted = [
        'canceling statement\nCONTEXT:  COPY readings_reading, line 1: "0198\tmote-1\t7\t21.5"',
        "violates check\nDETAIL:  Failing row contains (0198, mote-1, 7, 21.5).",
    ]

    for text in quoted:
        line = redact_line(None, "error", f"{text}{end}Traceback follows" if end else text)
        assert "21.5" not in line
        assert "mote-1" not in line
        assert ("Traceback follows" in line) == bool(end)


@pytest.mark.parametrize("key", ["tlm_" + "k" * 32, "a-key-of-another-server", "%74lm_" + "k" * 32])
@pytest.mark.parametrize("call", ["telemetry", "attributes", "rpc", "claim", "firmware", "software"])
@pytest.mark.parametrize(
    "form", ["POST /api/v1/{}/telemetry HTTP/1.1", '"path": "/api/v1/{}/telemetry"', "x /api/v1/{}/telemetry?a=b"]
)
def test_no_key_in_an_address_stays_in_a_log_line(key, form, call):
    line = redacted(form.format(key).replace("telemetry", call))

    assert key not in line
    assert "k" * 9 not in line
    assert f"/{call}" in line


def test_influxdbs_key_in_an_address_does_not_stay_in_a_log_line():
    line = redacted("POST /write?db=x&u=mote-1&p=a-key-of-another-server&precision=s HTTP/1.1")

    assert "a-key" not in line
    assert "mote-1" not in line
    assert "precision=s" in line
