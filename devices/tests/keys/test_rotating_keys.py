from datetime import timedelta

import pytest
from django.utils import timezone

from devices.api.serializers import OVERLAP_SECONDS_MAX
from devices.keys import hash_key
from devices.models import Device, RotationUnderWay
from devices.tests.fixtures import client_with, problem

pytestmark = pytest.mark.django_db

URL = "/api/v1/devices/mote-1"
DAY = timedelta(hours=24)


def rotate(admin, **body):
    """Rotates the key; returns the new one."""
    response = admin.post(f"{URL}/rotate-key", body)
    assert response.status_code == 200, response.content
    return response.json()["api_key"]


def works(key):
    status = client_with(key).get(URL).status_code
    assert status in (200, 401)
    return status == 200


def test_it_answers_the_device_with_its_new_key(admin, mote):
    before = admin.get(URL).json()

    answer = admin.post(f"{URL}/rotate-key", {}).json()

    assert answer["api_key"].startswith("tlm_")
    assert answer["api_key"] != mote[1]
    assert answer.items() >= {name: value for name, value in before.items() if name != "latest"}.items()


def test_the_new_key_is_shown_this_once_and_stored_by_its_hash(admin, device):
    key = rotate(admin)

    assert key not in admin.get(URL).content.decode()
    device.refresh_from_db()
    assert device.api_key_hash == hash_key(key)
    assert device.key_hint == key[:8]


def test_the_old_key_works_for_a_day_unless_told(admin, mote):
    before = timezone.now()
    new = rotate(admin)

    assert works(new)
    assert works(mote[1])
    expires_at = Device.objects.get().retiring_key_expires_at
    assert expires_at is not None
    assert before + DAY <= expires_at <= timezone.now() + DAY


def test_it_needs_no_body(admin, mote):
    assert admin.post(f"{URL}/rotate-key").status_code == 200
    assert works(mote[1])


def test_the_old_key_ends_when_the_overlap_does(admin, mote):
    rotate(admin, overlap_seconds=60)
    device = Device.objects.get()
    expires_at = device.retiring_key_expires_at
    assert expires_at is not None

    assert Device.objects.for_key(mote[1], now=expires_at - timedelta(microseconds=1)) == device
    assert Device.objects.for_key(mote[1], now=expires_at) is None


def test_an_expired_key_is_refused_and_the_new_one_is_not(admin, mote):
    new = rotate(admin, overlap_seconds=60)
    Device.objects.update(retiring_key_expires_at=timezone.now() + timedelta(seconds=5))
    assert works(mote[1])

    Device.objects.update(retiring_key_expires_at=timezone.now() - timedelta(seconds=1))

    assert not works(mote[1])
    assert works(new)


def test_an_overlap_of_nothing_ends_the_old_key_at_once(admin, mote):
    new = rotate(admin, overlap_seconds=0)

    assert not works(mote[1])
    assert works(new)
    device = Device.objects.get()
    assert device.retiring_key_hash is None
    assert device.retiring_key_expires_at is None


def test_a_second_rotation_within_the_overlap_is_refused_and_changes_nothing(admin, mote):
    first, second = mote[1], rotate(admin)
    expires_at = Device.objects.get().retiring_key_expires_at
    assert expires_at is not None

    refused = problem(admin.post(f"{URL}/rotate-key", {"overlap_seconds": 60}), 409)

    assert refused["code"] == "rotation_under_way"
    assert f"{expires_at:%Y-%m-%dT%H:%M:%S.%fZ}" in refused["detail"]
    assert '"force": true' in refused["detail"]
    assert [works(key) for key in (first, second)] == [True, True]
    assert Device.objects.get().retiring_key_expires_at == expires_at


def test_a_forced_rotation_ends_the_first_of_three_keys_at_once(admin, mote):
    first, second, third = mote[1], rotate(admin), rotate(admin, force=True)

    assert [works(key) for key in (first, second, third)] == [False, True, True]


def test_after_the_overlap_the_next_rotation_needs_no_force(admin, mote):
    second = rotate(admin, overlap_seconds=60)
    Device.objects.update(retiring_key_expires_at=timezone.now() - timedelta(seconds=1))

    third = rotate(admin)

    assert [works(key) for key in (mote[1], second, third)] == [False, True, True]


def test_a_first_rotation_may_be_forced_too(admin, mote):
    second = rotate(admin, force=True)

    assert [works(key) for key in (mote[1], second)] == [True, True]


def test_a_copy_of_the_device_from_before_the_first_rotation_is_refused_too(admin, mote):
    stale = Device.objects.get()
    rotate(admin)

    with pytest.raises(RotationUnderWay):
        stale.rotate_key(overlap=DAY, now=timezone.now())


def test_an_overlap_of_nothing_ends_a_key_that_was_retiring_too(admin, mote):
    first, second, third = mote[1], rotate(admin), rotate(admin, overlap_seconds=0)

    assert [works(key) for key in (first, second, third)] == [False, False, True]


def test_both_keys_write_to_one_log(admin, mote):
    new = rotate(admin)

    seqs = [client_with(key).post("/api/v1/ingest", {"temperature": 1}).json()["seq"] for key in (mote[1], new)]

    assert seqs == [1, 2]


def test_deactivating_refuses_both_keys(admin, mote):
    new = rotate(admin)
    admin.delete(URL)

    assert not works(mote[1])
    assert not works(new)


def test_rotating_leaves_every_other_device_alone(admin, device, other_device):
    rotate(admin, overlap_seconds=0)

    assert client_with(other_device[1]).get("/api/v1/devices/mote-2").status_code == 200


def test_a_stale_copy_of_the_device_does_not_bring_a_revoked_key_back(admin, mote):
    stale, first = Device.objects.get(), mote[1]
    second = rotate(admin, overlap_seconds=0)

    stale.rotate_key(overlap=DAY, now=timezone.now())

    assert not works(first)
    assert works(second)


@pytest.mark.parametrize("seconds", [1, OVERLAP_SECONDS_MAX])
def test_it_takes_an_overlap_up_to_its_bounds(admin, mote, seconds):
    before = timezone.now()
    rotate(admin, overlap_seconds=seconds)

    expires_at = Device.objects.get().retiring_key_expires_at
    assert expires_at is not None
    assert timedelta(0) <= expires_at - before - timedelta(seconds=seconds) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"overlap_seconds": -1}, "overlap_seconds", "min_value"),
        ({"overlap_seconds": OVERLAP_SECONDS_MAX + 1}, "overlap_seconds", "max_value"),
        ({"overlap_seconds": 1.5}, "overlap_seconds", "invalid"),
        ({"overlap_seconds": "60"}, "overlap_seconds", "invalid"),
        ({"overlap_seconds": False}, "overlap_seconds", "invalid"),
        ({"overlap_seconds": None}, "overlap_seconds", "null"),
        ({"overlap": 60}, "overlap", "unknown_field"),
        ({"force": 1}, "force", "invalid"),
        ({"force": "true"}, "force", "invalid"),
        ({"force": None}, "force", "null"),
    ],
)
def test_it_refuses_any_other_overlap_and_keeps_the_key(admin, mote, body, field, code):
    (error,) = problem(admin.post(f"{URL}/rotate-key", body), 422)["errors"]

    assert (error["field"], error["code"]) == (field, code)
    assert Device.objects.get().api_key_hash == hash_key(mote[1])


def test_there_has_to_be_such_a_device(admin, device):
    problem(admin.post("/api/v1/devices/mote-99/rotate-key", {}), 404)
