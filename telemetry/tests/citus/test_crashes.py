"""Nodes that crash while readings are posted: what was acknowledged is stored, and the other nodes' devices go on."""

import asyncio
import os
import time

import httpx
import pytest

from telemetry.tests.citus.posts import NAMES, Posts, assert_nothing_is_lost, count, registered_on_nodes
from telemetry.tests.support.citus import crash, workers
from telemetry.tests.support.clients.lanes import through_the_lane

pytestmark = [pytest.mark.citus, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

CRASHES = int(os.environ.get("CITUS_CRASHES", "3"))
RECOVERY_SECONDS_MAX = 5


def test_what_was_acknowledged_is_stored_when_a_node_crashes_under_load():
    node_of = registered_on_nodes()
    cluster = workers()
    recoveries, of_others = [], []

    async def story(client: httpx.AsyncClient) -> Posts:
        posts = Posts(client)
        tasks = [asyncio.create_task(posts.post(name)) for name in NAMES]
        await posts.all_acknowledged_since(time.monotonic(), NAMES)
        for number in range(CRASHES):
            node = sorted(cluster)[number % len(cluster)]
            begun = time.monotonic()
            await asyncio.to_thread(crash, cluster[node])
            others = [name for name in NAMES if node_of[name] != node]
            of_others.append(await posts.all_acknowledged_since(begun, others) - begun)
            recoveries.append(await posts.all_acknowledged_since(time.monotonic(), NAMES) - begun)
        posts.ended = True
        await asyncio.gather(*tasks)
        return posts

    posts: Posts = through_the_lane(story)

    print(
        f"{CRASHES} crashes, {count(posts)} acknowledged, answers {sorted(posts.statuses)}, "
        f"recovered in at most {max(recoveries):.1f} s, devices of other nodes served in at most {max(of_others):.1f} s"
    )
    assert_nothing_is_lost(posts)
    assert posts.statuses <= {201, 503}
    assert max(recoveries) < RECOVERY_SECONDS_MAX
    assert max(of_others) < RECOVERY_SECONDS_MAX
