"""Following `next` through a device's history."""

import base64
import random
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils import timezone

from devices.tests.fixtures import problem
from readings.tests.logs import at, new, store, store_at

pytestmark = pytest.mark.django_db

HISTORY = "/api/v1/devices/mote-1/history"


def follow(client: Any, parameters: dict[str, Any], between: Any = lambda: None) -> list[dict[str, Any]]:
    """The pages, from the first to the last; `between` is called after each."""
    pages = [client.get(HISTORY, parameters).json()]
    while pages[-1]["next"]:
        assert len(pages) < 100
        between()
        response = client.get(pages[-1]["next"])
        assert response.status_code == 200, response.content
        pages.append(response.json())
    return pages


def seqs(pages: list[dict[str, Any]]) -> list[int]:
    return [reading["seq"] for page in pages for reading in page["results"]]


@pytest.mark.parametrize("order", ["desc", "asc"])
@pytest.mark.parametrize("limit", [1, 3, 7, 20])
def test_the_pages_have_every_reading_once_in_order_also_of_equal_times(admin, device, order, limit):
    chance = random.Random(limit)
    moments = [at(chance.randrange(5) / 1_000_000) for _ in range(20)]
    store_at(*moments)

    pages = follow(admin, {"order": order, "limit": limit})

    expected = sorted(range(1, 21), key=lambda seq: (moments[seq - 1], seq), reverse=order == "desc")
    assert seqs(pages) == expected
    assert [len(page["results"]) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert 0 < len(pages[-1]["results"]) <= limit


def test_a_last_page_that_is_just_full_has_no_next(admin, device):
    store_at(*map(at, range(6)))
    assert len(follow(admin, {"limit": 3})) == 2


@pytest.mark.parametrize("order", ["desc", "asc"])
def test_arrivals_between_two_pages_move_nothing(admin, device, order):
    store_at(*(at(10 * (n // 2)) for n in range(20)))

    # New readings before, within and after the stored ones, and at the time of a page's last reading.
    pages = follow(admin, {"order": order, "limit": 4}, lambda: store_at(at(-5), at(30), at(55), at(500)))

    seen = seqs(pages)
    assert len(seen) == len(set(seen))
    before = sorted(range(1, 21), reverse=order == "desc")
    assert [seq for seq in seen if seq <= 20] == before
    shown = [(r["timestamp"], r["seq"]) for page in pages for r in page["results"]]
    assert shown == sorted(shown, reverse=order == "desc")


def test_a_page_keeps_the_window_and_the_metrics_of_the_first(admin, device):
    store(new(timestamp=at(n), temperature=float(n), humidity=1.0) for n in range(10))
    store([new(timestamp=at(5.5), humidity=1.0)])

    window = {"from": at(2).isoformat(), "to": at(9).isoformat(), "metrics": "temperature", "limit": 2, "order": "asc"}
    pages = follow(admin, window)

    assert [r["temperature"] for page in pages for r in page["results"]] == [2, 3, 4, 5, 6, 7, 8]
    assert not any("humidity" in r for page in pages for r in page["results"])
    assert {(page["start"], page["end"], page["order"]) for page in pages} == {
        ("2026-05-09T12:00:02.000000Z", "2026-05-09T12:00:09.000000Z", "asc")
    }


def test_a_relative_window_stays_where_the_first_page_put_it(admin, device):
    now = timezone.now()
    store_at(*[now] * 5)
    pages = follow(admin, {"start": "-1h", "end": "+1h", "limit": 2})
    assert len({(page["start"], page["end"]) for page in pages}) == 1
    assert sorted(seqs(pages)) == [1, 2, 3, 4, 5]


def test_the_next_page_is_at_this_server_and_names_no_key(admin, device):
    store_at(at(0), at(1))
    address = urlsplit(admin.get(HISTORY, {"limit": 1}).json()["next"])
    assert (address.netloc, address.path) == ("testserver", HISTORY)
    assert set(parse_qs(address.query)) == {"order", "limit", "cursor"}


def test_a_late_page_costs_as_many_queries_as_the_first(
    admin, device, django_assert_max_num_queries, django_assert_num_queries
):
    store_at(*map(at, range(50)))
    with django_assert_max_num_queries(3) as first:
        page = admin.get(HISTORY, {"limit": 5}).json()
    for _ in range(8):
        with django_assert_num_queries(len(first)):
            page = admin.get(page["next"]).json()
    assert page["results"][0]["seq"] == 10


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "é",
        "\x00",
        "!!!!",
        "A" * 10_000,
        *map(
            encoded,
            [
                "",
                " ",
                "2026-05-09T12:00:00+00:00",
                "2026-05-09T12:00:00+00:00 ",
                "2026-05-09T12:00:00+00:00 x",
                "2026-05-09T12:00:00+00:00 0",
                "2026-05-09T12:00:00+00:00 -1",
                "2026-05-09T12:00:00+00:00 9223372036854775808",
                "2026-05-09T12:00:00+00:00 " + "9" * 5000,
                "2026-05-09T12:00:00 1",
                "yesterday 1",
                "\x00 1",
                "0001-01-01T00:00:00+14:00 1",
                "9999-12-31T23:59:59-14:00 1",
            ],
        ),
    ],
    ids=lambda cursor: repr(cursor)[:80],
)
@pytest.mark.parametrize("order", ["desc", "asc"])
def test_it_refuses_a_cursor_that_is_not_its_own(admin, device, cursor, order):
    document = problem(admin.get(HISTORY, {"cursor": cursor, "order": order}), 422)
    assert [error["field"] for error in document["errors"]] == ["cursor"]
