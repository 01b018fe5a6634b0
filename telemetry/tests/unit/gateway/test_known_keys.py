"""The lane remembers the callers of keys; a revocation ends what it remembers before anything more is stored."""

import asyncio
import time
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.utils import timezone

from devices.access import key_lookup, known_callers
from devices.access.callers import callers_for_hashes
from devices.models import ApiToken, Device, Tag
from devices.tests.fixtures import new_token
from readings.log import group_commit
from readings.models import Reading
from telemetry.gateway.sharing import LaneSharing, Shared
from telemetry.tests.support.clients.lanes import through_the_lane

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def looked_up(monkeypatch):
    """The numbers of keys in each look-up by the lane."""
    numbers = []
    look_up = callers_for_hashes

    def counted(keys, tokens, **when):
        numbers.append(len(keys) + len(tokens))
        return look_up(keys, tokens, **when)

    monkeypatch.setattr(key_lookup, "callers_for_hashes", counted)
    monkeypatch.setattr(known_callers, "TRUSTED_SECONDS", 60)
    return numbers


def in_a_thread(function):
    """A coroutine function that calls it in a thread whose connection is closed afterwards."""

    def call(*arguments, **options):
        try:
            function(*arguments, **options)
        finally:
            connection.close()

    return sync_to_async(call)


def post(client, key, body='{"device_id": "mote-1", "temperature": 1}'):
    return client.post("/ingest", content=body, headers={"X-API-Key": key, "Content-Type": "application/json"})


def deactivate(device):
    Device.objects.filter(pk=device.pk).update(is_active=False)


def rotate(device):
    # Another instance, as another process would have.
    Device.objects.get(pk=device.pk).rotate_key(overlap=timedelta(0), now=timezone.now())


# What ends the right of a key of a device, or of a token, to post.
OF_DEVICES = {"rotated": rotate, "deactivated": deactivate}
OF_TOKENS = {
    "deleted": lambda: ApiToken.objects.all().delete(),
    "expired": lambda: ApiToken.objects.update(expires_at=timezone.now()),
    "without the scope": lambda: ApiToken.objects.update(scopes="read"),
    "limited": lambda: ApiToken.objects.get().tags.add(Tag.objects.create(name="roof", key="roof", colour="grey")),
}


def test_an_unknown_key_is_looked_up_each_time(mote, looked_up):
    async def post_as_a_stranger(client):
        return [(await post(client, f"tlm_{'x' * 32}")).status_code for _ in range(3)]

    assert through_the_lane(post_as_a_stranger) == [401] * 3
    assert looked_up == [1, 1, 1]


def test_without_commits_a_revoked_key_is_refused_before_its_body_is_read(mote, looked_up, monkeypatch):
    monkeypatch.setattr(known_callers, "TRUSTED_SECONDS", 0)

    async def post_nonsense_after_a_revocation(client):
        before = await post(client, mote[1], "{")
        await in_a_thread(rotate)(mote[0])
        return before, await post(client, mote[1], "{")

    before, after = through_the_lane(post_nonsense_after_a_revocation)

    assert (before.status_code, after.status_code) == (400, 401)


def test_a_key_that_posts_again_is_not_looked_up_again(mote, looked_up):
    async def post_five_times(client):
        return [(await post(client, mote[1])).status_code for _ in range(5)]

    assert through_the_lane(post_five_times) == [201] * 5
    assert looked_up == [1]


@pytest.mark.parametrize("revocation", OF_DEVICES)
def test_nothing_is_stored_for_a_known_key_that_was_revoked(mote, looked_up, revocation):
    async def post_around_a_revocation(client):
        first = await post(client, mote[1])
        await in_a_thread(OF_DEVICES[revocation])(mote[0])
        return [first, await post(client, mote[1]), await post(client, mote[1])]

    first, after, later = through_the_lane(post_around_a_revocation)

    assert (first.status_code, after.status_code, later.status_code) == (201, 401, 401)
    assert after.json()["code"] == "invalid_key"
    assert after.headers["WWW-Authenticate"].startswith("Bearer")
    assert Reading.objects.count() == 1


@pytest.mark.parametrize("revocation", OF_TOKENS)
def test_nothing_is_stored_for_a_known_token_that_lost_its_right(mote, looked_up, revocation):
    token = new_token("ingest")

    async def post_around_a_revocation(client):
        first = await post(client, token)
        await in_a_thread(OF_TOKENS[revocation])()
        return [first, await post(client, token)]

    first, after = through_the_lane(post_around_a_revocation)

    assert (first.status_code, after.status_code) == (201, 401)
    assert looked_up == [1]
    assert Reading.objects.count() == 1


def test_a_change_that_leaves_a_key_its_rights_does_not_refuse_it(mote, looked_up):
    other, _ = Device.objects.register(device_id="mote-2")

    async def post_around_a_change(client):
        first = await post(client, mote[1])
        await in_a_thread(deactivate)(other)
        return [(await post(client, mote[1])).status_code for _ in range(3)] + [first.status_code]

    assert through_the_lane(post_around_a_change) == [201] * 4
    assert looked_up == [1, 1]  # again after the commit that noticed the change


def test_nothing_is_stored_for_a_device_that_left_the_limit_of_a_token_meanwhile(mote, other_device, monkeypatch):
    """The tags of devices are looked up before the readings wait for their transaction."""
    roof = Tag.objects.create(name="roof", key="roof", colour="grey")
    for device in (mote[0], other_device[0]):
        device.tags.add(roof)
    token = new_token("ingest", tags=["roof"])
    record = LaneSharing.record
    sizes: list[int] = []

    async def record_later(way, readings, **options):
        if not sizes:
            await in_a_thread(mote[0].tags.clear)()
        sizes.append(len(readings))
        return await record(way, readings, **options)

    monkeypatch.setattr(LaneSharing, "record", record_later)
    body = '[{"device_id": "mote-1", "temperature": 1}, {"device_id": "mote-2", "temperature": 1}]'

    async def post_both(client):
        headers = {"X-API-Key": token, "Content-Type": "application/json"}
        return await client.post("/ingest/batch", content=body, headers=headers)

    answer = through_the_lane(post_both)

    assert [refused["code"] for refused in answer.json()["rejected"]] == ["unknown_device"]
    assert [stored.device_id for stored in Reading.objects.all()] == ["mote-2"]
    assert sizes == [2, 1]


def test_nothing_is_stored_for_a_key_that_expired_while_its_body_arrived(mote, looked_up, monkeypatch):
    mote[0].rotate_key(overlap=timedelta(hours=1), now=timezone.now())
    end = timezone.now() + timedelta(hours=1)

    async def body():
        yield b'{"device_id": "mote-1", '
        monkeypatch.setattr(timezone, "now", lambda: end)
        yield b'"temperature": 1}'

    answer = through_the_lane(lambda client: post(client, mote[1], body()))

    assert answer.status_code == 401
    assert Reading.objects.count() == 0


def test_the_time_of_a_version_is_before_it_was_read(mote, looked_up, monkeypatch):
    """Its answer may take long: the key may have been revoked meanwhile, and is not trusted from the answer on."""
    times = []

    def slow(readings, *, received_at, check):
        times.append(time.monotonic())
        time.sleep(0.01)
        check(7)
        return [], []

    monkeypatch.setattr(group_commit, "store", slow)
    committer = group_commit.GroupCommitter()
    asyncio.run(committer.record([], received_at=timezone.now()))

    assert committer.known.access is not None
    version, read_at = committer.known.access
    assert version == 7
    assert read_at <= times[0]


def test_a_known_key_that_was_revoked_opens_no_mqtt_connection(mote, looked_up):
    """Its commits would not check the key."""

    async def connect_after_a_revocation():
        shared = Shared()
        before = await shared.resolver.caller(mote[1])
        await in_a_thread(rotate)(mote[0])
        return before, await LaneSharing(shared).caller(mote[1])

    before, after = asyncio.run(connect_after_a_revocation())

    assert before is not None
    assert after is None


def test_a_revoked_key_does_not_take_its_neighbours_along(mote, looked_up, monkeypatch):
    others = [Device.objects.register(device_id=f"d-{number}") for number in range(5)]

    async def post_all_around_a_revocation(client):
        posts = [(device.device_id, key) for device, key in [mote, *others]]

        def post_each():
            bodies = [(key, f'{{"device_id": "{name}", "temperature": 1}}') for name, key in posts]
            return asyncio.gather(*(post(client, key, body) for key, body in bodies))

        await post_each()
        await in_a_thread(rotate)(mote[0])
        return await post_each()

    answers = through_the_lane(post_all_around_a_revocation)

    assert [answer.status_code for answer in answers] == [401] + [201] * 5
    assert Reading.objects.filter(device_id="mote-1").count() == 1
    assert Reading.objects.count() == 11


def test_a_key_that_was_rotated_with_an_overlap_works_until_its_end(mote, looked_up, monkeypatch):
    async def post_around_the_end(client):
        await post(client, mote[1])
        await in_a_thread(mote[0].rotate_key)(overlap=timedelta(hours=1), now=timezone.now())
        answers = [await post(client, mote[1]) for _ in range(3)]
        end = timezone.now() + timedelta(hours=1)
        monkeypatch.setattr(timezone, "now", lambda: end)
        return [*answers, await post(client, mote[1])]

    answers = through_the_lane(post_around_the_end)

    assert [answer.status_code for answer in answers] == [201, 201, 201, 401]
    assert looked_up == [1, 1, 1]
