"""Where devices are stored: in one database, or on the shards of a distributed one (Citus).

Citus refuses a statement that locks rows of several shards, and runs one that names the devices of a single shard on
the node of that shard alone. So statements about many devices run once for each group of devices that share a shard, in
the order of the shards, which is the same for everybody and so prevents deadlocks. In a database that is not
distributed all devices are one group, and the statements are the same.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, TypeVar

from django.conf import settings
from django.db import DatabaseError, InterfaceError, NotSupportedError, connection

T = TypeVar("T")

# The table that decides: all tables of the log are colocated with it.
TABLE = "devices_devicestate"
SHARDS = f"""
SELECT asked.device_id, get_shard_id_for_distribution_column('{TABLE}'::regclass, asked.device_id)
FROM unnest(%s::text[]) AS asked (device_id)
"""  # noqa: S608
# Of each shard, without replicas.
NODES = f"""
SELECT shard.shardid, placement.groupid FROM pg_dist_shard AS shard
JOIN pg_dist_placement AS placement ON placement.shardid = shard.shardid
WHERE shard.logicalrelid = '{TABLE}'::regclass
"""  # noqa: S608
# Maximum number of remembered devices; about 15 MB.
REMEMBERED_MAX = 100_000

# The shard of each device that was asked for. It changes only when a shard is split: see `forgotten_if_refused`.
remembered: dict[str, int] = {}
# The node of each shard as it was last asked for: see `known_nodes_of`.
known_nodes: dict[int, int] = {}


def in_groups(items: Sequence[T], device_id_of: Callable[[T], str] = attrgetter("device_id")) -> list[Sequence[T]]:
    """The items in groups whose devices one statement may lock, in the order in which to lock them.

    Without items there is no group. Raises DatabaseError, if the database is distributed.
    """
    if not items:
        return []
    if not settings.DISTRIBUTED or len(items) == 1:
        return [items]
    shards = shards_of({device_id_of(item) for item in items})
    groups: dict[int, list[T]] = {}
    for item in items:
        groups.setdefault(shards[device_id_of(item)], []).append(item)
    return [groups[shard] for shard in sorted(groups)]


def ids_in_groups(device_ids: Collection[str]) -> list[Sequence[str]]:
    """`in_groups` for ids of devices, also for ids of no device."""
    return in_groups(list(device_ids), str)


def by_nodes(items: Sequence[T], device_ids_of: Callable[[T], Collection[str]]) -> list[list[T]]:
    """The items in groups whose devices are on the same nodes, so that a group fails only with a node of its own.

    One group if the database is not distributed, or cannot be asked.
    """
    if not settings.DISTRIBUTED:
        return [list(items)]
    try:
        shards = shards_of({device_id for item in items for device_id in device_ids_of(item)})
        nodes = node_of_shard()
    except (DatabaseError, InterfaceError):
        return [list(items)]
    if not nodes.keys() >= set(shards.values()):
        remembered.clear()  # a shard was split since; its devices are one more group this time
    groups: dict[frozenset[int | None], list[T]] = {}
    for item in items:
        needed = frozenset([nodes.get(shards[device_id]) for device_id in device_ids_of(item)])
        groups.setdefault(needed, []).append(item)
    return list(groups.values())


def node_of_shard() -> dict[int, int]:
    """The number of the node of each shard. Not remembered, because shards are moved."""
    with connection.cursor() as cursor:
        cursor.execute(NODES)
        return dict(cursor.fetchall())


def known_nodes_of(device_ids: Collection[str]) -> frozenset[int] | None:
    """The nodes of these devices, as far as they are known without asking; None if not. None at all in one database.

    It may be outdated, and only decides which requests share a transaction.
    """
    if not settings.DISTRIBUTED:
        return frozenset()
    found = {known_nodes.get(remembered.get(device_id, -1)) for device_id in device_ids}
    return None if None in found else frozenset(node for node in found if node is not None)


def learn(device_ids: Collection[str]) -> None:
    """Asks for the nodes of these devices, for `known_nodes_of`. Raises DatabaseError."""
    shards_of(device_ids)
    known_nodes.update(node_of_shard())


def condition(column: str, device_ids: Sequence[str]) -> tuple[str, list[Any]]:
    """A condition (` AND …`, with its parameter) that names the devices of a group as constants.

    Citus chooses the shard by it before it runs a statement. It is empty if the database is not distributed, because
    there it would be one more comparison for each row.
    """
    return (f" AND {column} = ANY(%s::text[])", [list(device_ids)]) if settings.DISTRIBUTED else ("", [])


def named_condition(column: str, parameter: str) -> str:
    """As `condition`, for a statement that has the ids of the group as a parameter with this name already."""
    return f" AND {column} = ANY(%({parameter})s::text[])" if settings.DISTRIBUTED else ""


def shards_of(device_ids: Collection[str]) -> dict[str, int]:
    """The shard of each of these devices."""
    found = {device_id: shard for device_id in device_ids if (shard := remembered.get(device_id)) is not None}
    if unknown := [device_id for device_id in device_ids if device_id not in found]:
        asked = dict(ask(unknown))
        found |= asked
        if len(remembered) + len(asked) > REMEMBERED_MAX:
            remembered.clear()
        remembered.update(asked)
    return found


def ask(device_ids: Sequence[str]) -> list[tuple[str, int]]:
    """(device id, shard) of these devices, as the database places them."""
    with connection.cursor() as cursor:
        cursor.execute(SHARDS, [list(device_ids)])
        return list(cursor.fetchall())


@contextmanager
def forgotten_if_refused() -> Iterator[None]:
    """Forgets where devices are when the database refuses a group, because a shard was split meanwhile.

    The error remains: `devices.database.errors` classifies it as temporary.
    """
    try:
        yield
    except NotSupportedError:
        remembered.clear()
        raise
