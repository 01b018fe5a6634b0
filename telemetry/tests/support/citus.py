"""Test databases on all nodes of a Citus cluster (`make test-citus`).

Citus works inside one database, so each node needs the test database, and its coordinator must know the other nodes.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from django.db import connection
from psycopg.sql import SQL, Identifier

# Fewer than the usual 32, because a statement about all devices runs once for each.
SHARDS = 8

Database = psycopg.Connection[Any]
Address = tuple[str, int]
WORKERS = "SELECT groupid, nodename, nodeport FROM pg_dist_node WHERE groupid > 0 ORDER BY groupid"


@contextmanager
def made_databases() -> Iterator[None]:
    """Makes the test database anew on each node, and drops it at the end. Raises psycopg.Error.

    The nodes are those of the cluster of DATABASE_URL, whose database knows them.
    """
    own = str(connection.settings_dict["NAME"])
    name = str(connection.creation._get_test_db_name())  # type: ignore[attr-defined]
    coordinator = str(connection.settings_dict["HOST"]), int(connection.settings_dict["PORT"] or 5432)
    with connected(coordinator, own) as alone:
        # Processes that run tests in parallel must not add nodes at the same time: each also sets roles on them.
        alone.execute("SELECT pg_advisory_lock(1)")
        nodes: list[Address] = [(host, port) for _, host, port in alone.execute(WORKERS)]
        for node in (coordinator, *nodes):
            make(node, own, name)
        with connected(coordinator, name) as database:
            database.execute("SELECT citus_set_coordinator_host(%s, %s)", coordinator)
            for node in nodes:
                database.execute("SELECT citus_add_node(%s, %s)", node)
    yield
    connection.close()
    for node in (coordinator, *nodes):
        with connected(node, own) as database:
            drop(database, name)


@contextmanager
def connected(node: Address, name: str) -> Iterator[Database]:
    known = connection.settings_dict
    with psycopg.connect(
        host=node[0], port=node[1], user=known["USER"], password=known["PASSWORD"], dbname=name, autocommit=True
    ) as database:
        yield database


def make(node: Address, own: str, name: str) -> None:
    """Makes the test database anew on this node. `own`: its database that stays."""
    with connected(node, own) as database:
        drop(database, name)
        database.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        database.execute(SQL("ALTER DATABASE {} SET citus.shard_count = {}").format(Identifier(name), SHARDS))
    with connected(node, name) as database:
        database.execute("CREATE EXTENSION citus")


def drop(database: Database, name: str) -> None:
    database.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))


def workers() -> dict[int, Address]:
    """The workers by the number of their node."""
    with connection.cursor() as cursor:
        cursor.execute(WORKERS)
        return {number: (host, port) for number, host, port in cursor.fetchall()}


def crash(node: Address) -> None:
    """Kills a process of this node's server with SIGKILL: all its sessions end, and it recovers from its log.

    Needs a superuser, and a server that starts again by itself (restart_after_crash).
    """
    with suppress(psycopg.OperationalError), connected(node, str(connection.settings_dict["NAME"])) as database:
        database.execute("COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'")


# Stops all processes of the server, and lets them go on after a while. In a session of its own, because the server's
# process that starts it is stopped too, and only after the statement was answered.
HANG = (
    "COPY (SELECT 1) TO PROGRAM "
    '\'p=$(ps -o ppid= -p $PPID | tr -d " "); export p; setsid sh -c "sleep 0.3; all=\\$(ps -o pid= --ppid \\$p); '
    "kill -STOP \\$p \\$all; sleep {seconds}; kill -CONT \\$all \\$p\" > /dev/null 2>&1 < /dev/null &'"
)


def hang(node: Address, *, seconds: float) -> float:
    """Stops this node's server (SIGSTOP) for a while: it accepts connections and never answers.

    Returns when it begins (`time.monotonic`). Needs a superuser, and `ps` and `setsid` on the node.
    """
    with connected(node, str(connection.settings_dict["NAME"])) as database:
        database.execute(HANG.format(seconds=seconds))
    time.sleep(0.4)
    return time.monotonic() - 0.1
