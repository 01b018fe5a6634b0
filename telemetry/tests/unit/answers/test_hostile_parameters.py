"""Hostile URLs and parameters get an answer and never a 5xx, on both databases.

FUZZ_EXAMPLES: number of requests for each URL; `make fuzz` sends more.
"""

import base64
import os
from typing import Any
from urllib.parse import quote_from_bytes

import hypothesis
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from devices.models import Device
from devices.tests.fixtures import ADMIN_KEY, client_with, problem
from readings.tests.logs import NOON, at, new, store
from realtime.access.admission import Refused, parse_after

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "20"))
fuzzed = hypothesis.settings(
    max_examples=EXAMPLES,
    # The quick suite sends the same requests each time; with FUZZ_EXAMPLES they are random.
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

HISTORY = "/api/v1/devices/mote-1/history"


@st.composite
def moments(draw: st.DrawFn) -> str:
    """Times near the limits of the databases and of Python, with and without a zone."""
    year = draw(st.sampled_from([0, 1, 2, 1582, 1969, 1970, 2026, 2038, 9998, 9999]))
    date = draw(st.sampled_from(["01-01", "12-31", "12-30", "02-29", "00-00"]))
    clock = draw(st.sampled_from(["00:00:00", "23:59:59.999999", "23:59:60", "24:00:00", "12:00:00.0000001"]))
    zones = ["", "Z", "+00:00", "-00:00", "+23:59", "-23:59", "+24:00", "+00:00:01", "+23:59:59.999999", " 01:00"]
    return f"{year:04}-{date}{draw(st.sampled_from(['T', ' ']))}{clock}{draw(st.sampled_from(zones))}"


NUMBERS = st.one_of(
    st.integers().map(str),
    st.sampled_from(
        ["0", "-0", "9" * 18, "9" * 19, "9" * 5000, str(2**63), str(-(2**63)), "1e309", "NaN", "١٢", "1_0"]
    ),
    st.sampled_from(["253402300799", "-62135596801", "999999999999.999999999", "now-999999999w", "+999999999w", "-0s"]),
)
# NUL, which PostgreSQL rejects in texts; lone surrogates, raw and encoded; casts, quotes, escapes.
ODD = st.sampled_from(
    [
        b"",
        b"\x00",
        b"mote-1\x00",
        b"\xed\xa0\x80",
        b"\xff\xfe",
        "\ufeff".encode(),
        b"%00",
        b"%",
        b"_",
        b"\\",
        b"'",
        b'"',
    ]
)
NAMES = st.sampled_from(
    [
        *(
            "desc",
            "asc",
            "csv",
            "json",
            "null",
            "true",
            "online",
            "auto",
            "1s",
            "9999999d",
            "Europe/Berlin",
            "Etc/GMT+12",
        ),
        *(
            "../UTC",
            "/etc/localtime",
            "",
            "temperature",
            "extra",
            "id",
            "a" * 64,
            "temperature,",
            "__class__",
            "mote-1",
        ),
    ]
)


@st.composite
def cursors(draw: st.DrawFn) -> str:
    """Forged cursors of history and of the list of devices."""
    text = draw(
        st.one_of(
            st.builds("{} {}".format, moments(), NUMBERS),
            st.builds("p={}".format, st.text(max_size=70)),
            st.builds(
                "o={}&r={}&p={}".format, NUMBERS, st.sampled_from(["0", "1", "x"]), st.sampled_from(["a", "\x00"])
            ),
        )
    )
    return base64.urlsafe_b64encode(text.encode("utf-8", "replace")).decode()


VALUES = st.one_of(
    st.one_of(moments(), NUMBERS, NAMES, cursors(), st.text(max_size=20)).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    ),
    ODD,
    st.binary(max_size=20),
)


def query(*names: str) -> st.SearchStrategy[str]:
    """A query string with some of these parameters, each perhaps twice."""
    parameter = st.builds(lambda name, value: f"{name}={quote_from_bytes(value)}", st.sampled_from(names), VALUES)
    return st.lists(parameter, min_size=1, max_size=4).map("&".join)


def answered(client: Any, address: str, query_string: str = "") -> int:
    """The status of the response; a streamed body is read."""
    response = client.generic("GET", address, QUERY_STRING=query_string)
    assert response.status_code < 500, (address, query_string, response.content)
    return int(response.status_code)


@pytest.fixture
def admin(device: Device) -> Any:
    """With a device that has readings at both ends of a day."""
    store(new(timestamp=at(n * 3600), extra={"pm": n}) for n in range(24))
    return client_with(ADMIN_KEY)


@given(query_string=query("start", "end", "from", "to", "limit", "order", "metrics", "cursor"))
@fuzzed
def test_history(admin: Any, query_string: str) -> None:
    answered(admin, HISTORY, query_string)


@given(start=moments(), end=moments(), position=st.tuples(moments(), NUMBERS), order=st.sampled_from(["asc", "desc"]))
@example(start="1970-01-01", end="now", position=("9999-12-30T23:58:00+23:59", "1"), order="desc")
@fuzzed
def test_windows_and_positions_that_are_well_formed(
    admin: Any, start: str, end: str, position: tuple[str, str], order: str
) -> None:
    cursor = base64.urlsafe_b64encode(" ".join(position).encode()).decode()
    parts = {"start": start, "end": end, "order": order, "cursor": cursor}
    answered(admin, HISTORY, "&".join(f"{name}={quote_from_bytes(text.encode())}" for name, text in parts.items()))


@given(query_string=query("start", "end", "from", "to", "metrics", "bucket", "points", "tz", "fill"))
@example(query_string="start=1970-01-01&end=9999-12-30&bucket=3650d&tz=Pacific/Kiritimati")
@example(query_string="start=1970-01-01T00:00:00Z&bucket=7d&end=1970-01-02&tz=Pacific/Kiritimati&fill=null")
@example(query_string="start=9999-12-29T00:00:00Z&end=9999-12-30T00:00:00Z&bucket=7d&tz=Pacific/Pago_Pago&fill=null")
@fuzzed
def test_aggregate(admin: Any, query_string: str) -> None:
    answered(admin, "/api/v1/devices/mote-1/aggregate", query_string)


@given(query_string=query("status", "is_active", "search", "limit", "cursor"))
@fuzzed
def test_the_list_of_devices(admin: Any, query_string: str) -> None:
    answered(admin, "/api/v1/devices", query_string)


@given(
    query_string=query("state", "device_id", "rule", "severity", "start", "end", "limit", "cursor"),
    page=st.sampled_from(["alarms", "devices/mote-1/alarms"]),
)
@example(query_string="start=0001-01-01", page="alarms")
@example(query_string=f"rule={2**63}", page="alarms")
@fuzzed
def test_alarms(admin: Any, query_string: str, page: str) -> None:
    answered(admin, f"/api/v1/{page}", query_string)


@given(opened_at=moments(), identifier=st.uuids().map(str))
@fuzzed
def test_cursors_of_alarms_that_are_well_formed(admin: Any, opened_at: str, identifier: str) -> None:
    cursor = base64.urlsafe_b64encode(f"{opened_at} {identifier}".encode()).decode()
    answered(admin, "/api/v1/alarms", f"cursor={cursor}")


@given(name=VALUES, page=st.sampled_from(["", "/history", "/aggregate", "/latest", "/alarms"]))
@fuzzed
def test_devices_that_cannot_be(admin: Any, name: bytes, page: str) -> None:
    answered(admin, f"/api/v1/devices/{quote_from_bytes(name, safe='')}{page}")


@given(query_string=query("metric", "devices"))
@fuzzed
def test_sparklines(device: Device, admin_client: Any, query_string: str) -> None:
    answered(admin_client, "/live/-/sparklines", query_string)


@pytest.mark.parametrize(
    "kind",
    [
        "readings/reading",
        "readings/rejection",
        "devices/device",
        "alarms/alarm",
        "alarms/rule",
        "admin/logentry",
        "auth/user",
    ],
)
@given(query_string=query("q", "beyond", "p", "o", "all", "_popup"))
@example(query_string="beyond=%00")
@example(query_string="q=mote-1&beyond=999999999999999999")
@example(query_string="q=%00")
@fuzzed
def test_lists_of_the_console(device: Device, admin_client: Any, kind: str, query_string: str) -> None:
    answered(admin_client, f"/admin/{kind}/", query_string)


@pytest.mark.parametrize("kind", ["readings/reading", "devices/device", "auth/user"])
@given(key=VALUES, page=st.sampled_from(["change", "history", "delete"]))
@fuzzed
def test_pages_of_the_console_about_something_that_cannot_be(
    device: Device, admin_client: Any, kind: str, key: bytes, page: str
) -> None:
    answered(admin_client, f"/admin/{kind}/{quote_from_bytes(key, safe='')}/{page}/")


@given(value=VALUES)
@example(value=str(2**63).encode())
@fuzzed
def test_positions_of_sockets(value: bytes) -> None:
    try:
        after = parse_after(f"after={quote_from_bytes(value)}".encode())
    except Refused:
        return
    assert after is None or 0 <= after < 1 << 63


def cursor_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param("9999-12-30T00:00:00+23:59 1", id="a time zone"),
        pytest.param("2026-05-09T12:00:00+01:00 1", id="another hour's name"),
        pytest.param("2026-05-09T12:00:00+00:00 ١", id="digits of another script"),
        pytest.param("2026-05-09T12:00:00+00:00 +1", id="a sign"),
        pytest.param("2026-05-09T12:00:00+00:00 1_0", id="an underscore"),
        pytest.param("20260509T120000+0000 1", id="another form of the time"),
        pytest.param("2026-05-09T12:00:00.000000+00:00 1", id="a fraction that is none"),
        pytest.param("2026-05-09T12:00:00 1", id="no time zone"),
        pytest.param(f"2026-05-09T12:00:00+00:00 {2**63}", id="beyond 63 bits"),
    ],
)
def test_a_cursor_has_one_form(admin: Any, forged: str) -> None:
    assert problem(admin.get(HISTORY, {"cursor": cursor_of(forged)}), 422)["errors"][0]["code"] == "invalid_cursor"


def test_a_cursor_of_ours_with_something_around_it_is_none(admin: Any) -> None:
    ours = cursor_of(f"{NOON.isoformat()} 1")
    assert admin.get(HISTORY, {"cursor": ours}).status_code == 200
    for forged in (f"{ours}!", f"!{ours}", ours + ours):
        assert admin.get(HISTORY, {"cursor": forged}).status_code == 422
