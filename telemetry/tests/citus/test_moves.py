"""Shards that are moved to another node while readings are posted."""

import asyncio
import os
import time

import httpx
import pytest
from django.db import connection

from telemetry.tests.citus.posts import NAMES, Posts, assert_nothing_is_lost, count, registered_on_nodes
from telemetry.tests.support.citus import connected, workers
from telemetry.tests.support.clients.lanes import through_the_lane

pytestmark = [pytest.mark.citus, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

MOVES = int(os.environ.get("CITUS_MOVES", "2"))
PLACED = """
SELECT shard.shardid, placement.groupid FROM pg_dist_shard AS shard
JOIN pg_dist_placement AS placement ON placement.shardid = shard.shardid
WHERE shard.logicalrelid = 'devices_devicestate'::regclass ORDER BY shard.shardid
"""


def move(index: int, mode: str) -> float:
    """Moves one shard, with those that are colocated with it, to the next worker. Returns the seconds it took."""
    known = connection.settings_dict
    cluster = workers()
    with connected((str(known["HOST"]), int(known["PORT"])), str(known["NAME"])) as database:
        shard, node = database.execute(PLACED).fetchall()[index]
        order = sorted(cluster)
        target = order[(order.index(node) + 1) % len(order)]
        begun = time.monotonic()
        database.execute(
            "SELECT citus_move_shard_placement(%s, %s, %s, %s, %s, %s)",
            [shard, *cluster[node], *cluster[target], mode],
        )
        took = time.monotonic() - begun
        # What is left behind is dropped later, and its constraints keep devices from being deleted until then.
        database.execute("CALL citus_cleanup_orphaned_resources()")
        return took


@pytest.mark.parametrize("mode", ["block_writes", "force_logical"])
def test_nothing_is_lost_when_a_shard_moves_under_load(mode):
    registered_on_nodes()
    took = []

    async def story(client: httpx.AsyncClient) -> Posts:
        posts = Posts(client)
        tasks = [asyncio.create_task(posts.post(name)) for name in NAMES]
        await posts.all_acknowledged_since(time.monotonic(), NAMES)
        for number in range(MOVES):
            took.append(await asyncio.to_thread(move, number, mode))
            await posts.all_acknowledged_since(time.monotonic(), NAMES)
        posts.ended = True
        await asyncio.gather(*tasks)
        return posts

    posts: Posts = through_the_lane(story)

    slowest = max(seconds for of_device in posts.answers.values() for _, seconds, _ in of_device)
    refused = sum(status == 503 for of_device in posts.answers.values() for _, _, status in of_device)
    print(
        f"{mode}: {MOVES} moves, each within {max(took):.1f} s, {count(posts)} acknowledged, {refused} times 503, "
        f"no answer later than {slowest:.1f} s"
    )
    assert_nothing_is_lost(posts)
    assert posts.statuses <= {201, 503}
