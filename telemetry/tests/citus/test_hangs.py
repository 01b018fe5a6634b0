"""A node that stops answering while readings are posted: its devices are refused, and the others are served."""

import asyncio
import os
import time

import httpx
import pytest

from telemetry.tests.citus.posts import NAMES, Posts, assert_nothing_is_lost, count, registered_on_nodes
from telemetry.tests.support.citus import hang, workers
from telemetry.tests.support.clients.lanes import through_the_lane

pytestmark = [pytest.mark.citus, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

HANGS = int(os.environ.get("CITUS_HANGS", "2"))
HANG_SECONDS = 20
# A statement of ingest may take 4 s. Then batches over several nodes no longer keep the locks of devices of the others.
SERVED_SECONDS_MAX = 10
ANSWER_SECONDS_MAX = 7
RECOVERY_SECONDS_MAX = 5


def test_a_node_that_hangs_delays_only_its_own_devices():
    node_of = registered_on_nodes()
    assert len({node_of[name] for name in NAMES[:8]}) > 1  # a batch of them needs several nodes
    cluster = workers()
    of_others, refused, recoveries, served = [], [], [], []

    async def story(client: httpx.AsyncClient) -> Posts:
        posts = Posts(client)
        tasks = [asyncio.create_task(posts.post(name)) for name in NAMES]
        tasks.append(asyncio.create_task(posts.post_batches(NAMES[:8])))
        await posts.all_acknowledged_since(time.monotonic(), NAMES)
        for number in range(HANGS):
            node = sorted(cluster)[number % len(cluster)]
            others = [name for name in NAMES if node_of[name] != node]
            begun = await asyncio.to_thread(hang, cluster[node], seconds=HANG_SECONDS)
            of_others.append(await posts.all_acknowledged_since(begun, others) - begun)
            # From now on nobody waits for the node.
            await asyncio.sleep(max(0.0, begun + SERVED_SECONDS_MAX - time.monotonic()))
            settled = time.monotonic()
            await asyncio.sleep(begun + HANG_SECONDS - 1 - settled)
            ended = time.monotonic()
            during = {name: [a for a in posts.answers[name] if settled < a[0] < ended] for name in NAMES}
            served.append(sum(len(during[name]) for name in others))
            assert {status for name in others for _, _, status in during[name]} == {201}
            mine = [answer for name in NAMES if name not in others for answer in during[name]]
            assert {status for _, _, status in mine} == {503}
            refused.append(max(seconds for _, seconds, _ in mine))
            recoveries.append(await posts.all_acknowledged_since(begun + HANG_SECONDS, NAMES) - begun - HANG_SECONDS)
        posts.ended = True
        await asyncio.gather(*tasks)
        return posts

    posts: Posts = through_the_lane(story)

    slowest = max(seconds for of_device in posts.answers.values() for _, seconds, _ in of_device)
    print(
        f"{HANGS} hangs of {HANG_SECONDS} s, {count(posts)} acknowledged, answers {sorted(posts.statuses)}, none later "
        f"than {slowest:.1f} s; devices of other nodes served within {max(of_others):.1f} s and then {min(served)} "
        f"times; those of the node refused within {max(refused):.1f} s, served {max(recoveries):.1f} s after its end"
    )
    assert_nothing_is_lost(posts)
    assert posts.statuses | set(posts.batches) <= {201, 503}
    assert slowest < ANSWER_SECONDS_MAX
    assert max(of_others) < SERVED_SECONDS_MAX
    assert max(recoveries) < RECOVERY_SECONDS_MAX
