"""Refused posts are stored, so that a device's page can show why its readings do not arrive."""

from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.db import DatabaseError
from django.utils import timezone

from devices.models import Device
from devices.tests.fixtures import ADMIN_KEY, FLEET_KEY, client_with, token_client
from readings.ingest import refused_posts
from readings.ingest.refused_posts import Noted, Times, keep, refused_post
from readings.models import Rejection
from readings.tests.logs import make_devices, post_raw

pytestmark = pytest.mark.django_db

INGEST = "/api/v1/ingest"


def kept(*fields):
    return list(Rejection.objects.order_by("id").values_list(*fields))


def kind(n=0, device_id="mote-1", **given):
    known = {
        "caller": "device",
        "device_id": device_id,
        "address": "",
        "status": 422,
        "code": f"code_{n}",
        "detail": "",
    }
    return refused_post(**known | given)


def unknown(n, address="10.0.0.1"):
    """A gateway's reading for a device that does not exist."""
    return kind(device_id=f"ghost-{n}", caller="fleet", address=address, unknown_device=True)


def nobody(n, address="10.0.0.9"):
    return kind(n, device_id="", caller="nobody", address=address)


def at(n):
    """A refusal; a greater `n` means a later time."""
    return Times(timezone.now() + timedelta(seconds=n))


def test_a_value_that_is_refused_is_kept_with_its_reason(as_device):
    as_device.post(INGEST, {"temperature": "warm"})
    (row,) = kept("device_id", "status", "code", "field", "address", "count")
    assert row == ("mote-1", 422, "invalid", "temperature", "127.0.0.1", 1)
    assert "temperature" in Rejection.objects.get().detail


@pytest.mark.parametrize(("body", "code"), [('{"temperature": nan}', "malformed"), ("", "no_metric"), ("[]", None)])
def test_a_body_that_cannot_be_read_is_kept(as_device, body, code):
    post_raw(as_device, INGEST, body)
    assert Rejection.objects.get().device_id == "mote-1"


def test_a_form_is_kept_as_what_it_was(as_device):
    post_raw(as_device, INGEST, "temperature=1", "application/x-www-form-urlencoded")
    assert kept("status", "code") == [(415, "unsupported_media_type")]


def test_what_is_stored_is_not_refused(as_device):
    as_device.post(INGEST, {"temperature": 1})
    assert as_device.get(INGEST).status_code == 405
    assert kept("code") == []


def test_equal_refusals_are_one_row_that_counts(as_device):
    for _ in range(3):
        as_device.post(INGEST, {"temperature": "warm"})
    as_device.post(INGEST, {"humidity": "wet"})
    assert kept("field", "count") == [("temperature", 3), ("humidity", 1)]


def test_different_reasons_are_rows_of_their_own(as_device):
    """Also with the same code and field."""
    bodies = [
        "[1]",
        "{}",
        "{",
        '{"temperature": 1e400}',
        '{"temperature": "warm"}',
        '{"temperature": true}',
        "{}",
        "[1]",
    ]
    for body in bodies:
        post_raw(as_device, INGEST, body)
    post_raw(as_device, f"{INGEST}/batch", '[{"temperature": 1e400}, {"temperature": "cold"}, [], {}]')

    rows = kept("code", "field", "detail", "count")
    assert len({row[:3] for row in rows}) == len(rows) == 10
    assert sum(count for *_, count in rows) == 12
    assert sorted(count for *_, count in rows)[-2:] == [2, 2]


@pytest.mark.parametrize("vary", [lambda n: "[" + "1," * n + "x]", lambda n: '{"a": "' + "x" * (70_000 + n) + '"}'])
def test_what_varies_from_post_to_post_makes_no_row_of_its_own(as_device, vary):
    for n in (1, 20, 300):
        post_raw(as_device, INGEST, vary(n))

    assert kept("count") == [(3,)]


def test_the_time_to_wait_makes_no_row_of_its_own(device):
    told = "This device posts more often than DEVICE_RATE_LIMIT allows (1/h)."
    for seconds in ("1 second", "3600 seconds"):
        keep({kind(detail=f"{told} Expected available in {seconds}."): at(0)})

    assert kept("detail", "count") == [(told, 2)]


def test_many_different_details_of_a_device_stay_bounded(device, other_device):
    keep({kind(device_id="mote-2", detail="Its own."): at(0)})
    keep({kind(detail=f"It is {chr(97 + n)}."): at(n) for n in range(25)})

    assert Rejection.objects.filter(device_id="mote-1").count() == refused_posts.KEPT_OF_A_DEVICE
    assert Rejection.objects.filter(device_id="mote-2").count() == 1


def test_of_a_batch_each_reason_is_kept_once(as_device):
    bad = [{"temperature": "warm"}] * 7 + [{"humidity": "wet"}, {"temperature": 1}]
    assert as_device.post(f"{INGEST}/batch", bad).status_code == 207
    assert kept("status", "field") == [(207, "temperature"), (207, "humidity")]


def test_of_a_batch_without_a_valid_reading_too(as_device):
    as_device.post(f"{INGEST}/batch", [{"temperature": "warm"}])
    assert kept("status", "device_id", "field") == [(422, "mote-1", "temperature")]


def test_an_unknown_key_is_kept_by_how_it_begins_and_no_more():
    key = "tlm_" + "k" * 32
    client_with(key).post(INGEST, {"temperature": 1})
    (row,) = Rejection.objects.values().all()
    assert (row["status"], row["device_id"], row["key_hint"]) == (401, "", "tlm_kkkk")
    assert key not in str(row)


def test_of_a_key_that_is_none_of_ours_next_to_nothing_is_kept():
    client_with("correct horse battery").post(INGEST, {"temperature": 1})
    assert kept("key_hint") == [("cor",)]


def test_the_secrets_of_this_server_are_not_kept(fleet, admin):
    fleet.post(INGEST, {"temperature": 1})
    admin.post(INGEST, {"temperature": 1})
    text = str(list(Rejection.objects.values()))
    assert len(kept("code")) == 2
    for secret in (FLEET_KEY, ADMIN_KEY):
        assert secret[:8] not in text


def test_a_post_without_a_key_is_kept(anyone):
    anyone.post(INGEST, {"temperature": 1})
    assert kept("status", "code", "key_hint") == [(401, "not_authenticated", "")]


def test_a_gateways_reading_of_a_device_there_is_not_is_kept_by_the_name_it_gave(fleet):
    fleet.post(INGEST, {"temperature": 1, "device_id": "mote-9"})
    fleet.post(f"{INGEST}/batch", [{"temperature": 1, "device_id": "mote-8"}])
    assert kept("device_id", "code") == [("mote-9", "invalid"), ("mote-8", "unknown_device")]


def test_a_deactivated_devices_key_is_known_for_whose_it_is(as_device, device):
    Device.objects.update(is_active=False)
    as_device.post(INGEST, {"temperature": 1})
    assert kept("device_id", "detail") == [("mote-1", refused_posts.INACTIVE)]


def test_a_key_whose_overlap_is_over_is_known_for_whose_it_was(as_device, device):
    device.rotate_key(overlap=timedelta(seconds=1), now=timezone.now() - timedelta(hours=1))
    as_device.post(INGEST, {"temperature": 1})
    assert kept("device_id", "detail") == [("mote-1", refused_posts.ROTATED)]


def test_a_device_is_shown_what_came_with_a_key_that_begins_like_its_own(device):
    client_with(device.key_hint + "x" * 28).post(INGEST, {"temperature": 1})
    client_with("tlm_zzzz" + "x" * 28).post(INGEST, {"temperature": 1})
    found = Rejection.objects.of_device(device)
    assert [rejection.key_hint for rejection in found] == [device.key_hint]
    assert Rejection.objects.of_nobody().count() == 2


def test_a_device_that_goes_on_with_a_revoked_key_is_shown_what_came_with_it(mote):
    device, revoked = mote
    device.rotate_key(overlap=timedelta(0), now=timezone.now())
    client_with(revoked).post(INGEST, {"temperature": 1})
    assert [rejection.key_hint for rejection in Rejection.objects.of_device(device)] == [revoked[:8]]


def test_no_more_than_the_last_are_kept_of_a_device(device):
    keep({kind(n): at(n) for n in range(30)})
    assert [code for (code,) in kept("code")] == [f"code_{n}" for n in range(10, 30)]
    keep({kind(n, caller="fleet", address="10.0.0.1"): at(n) for n in range(30)})
    assert Rejection.objects.filter(caller="fleet").count() == refused_posts.KEPT_OF_A_DEVICE


def test_no_more_than_the_last_are_kept_of_unknown_callers():
    keep({nobody(n): at(n) for n in range(130)})
    assert {code for (code,) in kept("code")} == {f"code_{n}" for n in range(30, 130)}


def test_a_gateway_that_names_thousands_of_devices_there_are_not_pushes_out_nobody_else(device, other_device):
    keep({kind(n, device_id=name): at(n) for n in range(5) for name in ("mote-1", "mote-2")})
    keep({kind(n, caller="fleet", address="10.0.0.1"): at(n) for n in range(5)})
    keep({nobody(n): at(n) for n in range(5)})
    keep({unknown(n, address="10.0.0.2"): at(n) for n in range(5)})
    before = set(kept("caller", "device_id", "address", "code"))

    keep({unknown(n): at(1000 + n) for n in range(2600)})

    assert set(kept("caller", "device_id", "address", "code")) >= before
    flood = Rejection.objects.filter(address="10.0.0.1", device_id__startswith="ghost-").count()
    assert flood == refused_posts.KEPT_OF_A_SHARE["unknown"] - 5


def test_one_address_of_many_pushes_out_no_other_of_unknown_callers(device):
    keep({nobody(n, address=f"10.0.1.{n}"): at(n) for n in range(50)})
    keep({nobody(n): at(1000 + n) for n in range(2600)})
    assert Rejection.objects.filter(address__startswith="10.0.1.").count() == 50
    assert Rejection.objects.count() == refused_posts.KEPT_OF_A_SHARE["nobody"]


def test_of_more_devices_than_there_is_room_for_the_last_to_be_refused_are_kept(monkeypatch):
    monkeypatch.setitem(refused_posts.KEPT_OF_A_SHARE, "device", 50)
    names = make_devices(60)
    keep({kind(n, device_id=name): at(n) for n, name in enumerate(names)})
    keep({kind(n, device_id=names[0]): at(-n) for n in range(1, 20)})
    assert {name for (name,) in kept("device_id")} == {*names[10:]}


def test_a_name_of_no_device_is_kept_only_where_that_was_the_reason(device):
    keep({kind(device_id="ghost-1", caller="fleet", code="not_a_number"): at(0)})
    keep({unknown(2): at(1)})
    assert kept("device_id", "code") == [("", "not_a_number"), ("ghost-2", "code_0")]


@pytest.mark.parametrize(("tags", "kept_of"), [(["own"], ["", "", "mote-1"]), ([], ["mote-1", "mote-2"])])
def test_a_limited_token_leaves_nothing_on_the_page_of_another_device(device, other_device, admin, tags, kept_of):
    admin.post("/api/v1/tags", {"name": "own"})
    admin.patch("/api/v1/devices/mote-1", {"tags": ["own"]})
    client = token_client("ingest", tags=tags)
    for device_id in ("mote-1", "mote-2"):
        client.post(INGEST, {"device_id": device_id, "temperature": "warm"})
    client.post(INGEST, {"device_id": "mote-2", "temperature": 1})
    assert sorted(device_id for (device_id,) in kept("device_id")) == kept_of


def test_refused_posts_of_tokens_count_as_those_of_gateways(device):
    keep({kind(n, caller="token", address="10.0.0.1"): at(n) for n in range(30)})
    assert Rejection.objects.filter(caller="token").count() == refused_posts.KEPT_OF_A_DEVICE
    keep({kind(device_id=f"x{n}", caller="token", address="10.0.0.2", unknown_device=True): at(n) for n in range(300)})
    assert Rejection.objects.filter(address="10.0.0.2").count() == refused_posts.KEPT_OF_A_SHARE["unknown"]


def test_what_a_device_sent_that_is_gone_meanwhile_is_not_kept(db):
    keep({kind(): at(0)})
    assert kept("code") == []


def test_hostile_texts_fit_their_columns():
    text = "\x00\ud800'\"<é" * 200
    keep(
        {
            kind(
                caller="fleet",
                unknown_device=True,
                device_id="m",
                address=text,
                code=text,
                field=text,
                detail=text,
                unknown_key=text.replace("\ud800", ""),
            ): Times(timezone.now())
        }
    )
    (row,) = Rejection.objects.values()
    assert "\x00" not in str(row)
    assert len(row["detail"]) == refused_posts.DETAIL_CHARACTERS


def test_a_flood_of_kinds_is_forgotten_beyond_the_bound():
    noted = Noted()
    for n in range(3000):
        noted.note(unknown(n), now=timezone.now())
    assert len(noted) == refused_posts.WAITING_OF_A_SENDER["fleet"]
    for n in range(3000):
        noted.note(nobody(n, address=f"10.{n // 250}.{n % 250}.1"), now=timezone.now())
    assert noted.of_callers["nobody", "refused"] == refused_posts.WAITING_OF_A_CALLER["nobody"]


def test_a_flood_leaves_room_for_all_others_in_memory_too():
    noted = Noted()
    for n in range(3000):
        noted.note(unknown(n), now=timezone.now())
        noted.note(nobody(n), now=timezone.now())
        noted.note(kind(n, device_id="mote-2"), now=timezone.now())
    others = [kind(), unknown(1, address="10.0.0.2"), nobody(1, address="10.0.0.8")]
    others.append(kind(caller="fleet", address="10.0.0.1"))
    for other in others:
        noted.note(other, now=timezone.now())
    assert noted.keys() >= set(others)


def test_what_cannot_be_kept_changes_no_answer(as_device, monkeypatch):
    def away(_):
        raise DatabaseError("away")

    monkeypatch.setattr(refused_posts, "keep", away)
    assert as_device.post(INGEST, {"temperature": "warm"}).status_code == 422


def test_the_migration_backwards_merges_what_the_earlier_version_merges(device):
    keep({kind(detail="One."): at(1), kind(detail="Two."): at(3), kind(detail="Three."): at(2), kind(1): at(0)})
    migration = import_module("readings.migrations.0009_rejections_differ_by_detail")

    migration.merge(apps, None)

    assert kept("code", "detail", "count") == [("code_0", "Two.", 3), ("code_1", "", 1)]
