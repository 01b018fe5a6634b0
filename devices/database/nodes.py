"""Nodes of a distributed database that do not answer: their devices are refused at once, and the others are served.

The coordinator notices at once that a node has crashed. For a node that hangs it waits, and a statement that it cancels
then keeps its session until the node answers again (Citus asks the node to cancel, and waits for that without a limit).
So once a statement has taken long, each node is asked over a new connection, and nothing more is sent to those that do
not answer.
"""

import logging
import threading
from collections.abc import Collection
from contextlib import suppress

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.db.backends.base.base import NO_DB_ALIAS, BaseDatabaseWrapper

from devices.database import placement
from devices.database.errors import words_of

logger = logging.getLogger(__name__)

# How long a transaction of ingest may take before the nodes are asked, in seconds.
SUSPICIOUS_SECONDS = 1.0
# Within which a node must answer, in seconds. Longer than a node under load needs for a new connection.
ANSWER_SECONDS = 2.0
# Between two looks while a node is away, in seconds.
PAUSE_SECONDS = 1.0

WORKERS = "SELECT groupid, nodename, nodeport FROM pg_dist_node WHERE groupid > 0 AND isactive AND noderole = 'primary'"
# From the coordinator, which may reach nodes that this process cannot. In a new session, because it would use a
# connection that it has already, and wait on it without a limit.
ANSWERS = "SELECT citus_check_connection_to_node(%s, %s)"
# Ends sessions of the coordinator at a node whose transactions have sent it nothing for longer than a statement of
# ingest may take: they wait for a node that is away, and keep the locks of this node's devices. After that they
# cannot commit. A transaction that was prepared already is not among them.
FREE_LOCKS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND application_name LIKE 'citus_internal%'
    AND state = 'idle in transaction' AND state_change < now() - interval '4 seconds'
"""
ON_NODE = "SELECT result FROM master_run_on_worker(ARRAY[%s]::text[], ARRAY[%s]::integer[], ARRAY[%s]::text[], false)"


class NodeAway(OperationalError):
    """The node with the devices does not answer; nothing was sent to it."""


class Watch:
    """The nodes that do not answer, of one process. `away`: their numbers; `places`: the node of each shard."""

    def __init__(self) -> None:
        self.away: frozenset[int] = frozenset()
        self.places: dict[int, int] = {}
        self.lock = threading.Lock()
        self.thread: threading.Thread | None = None

    def suspect(self) -> None:
        """Looks in a thread until every node answers. Without effect if the database is not distributed."""
        if not settings.DISTRIBUTED:
            return
        with self.lock:
            if self.thread is None:
                self.thread = threading.Thread(target=self.run, name="nodes", daemon=True)
                self.thread.start()

    def run(self) -> None:
        pause = threading.Event()
        while True:
            self.look()
            with self.lock:
                if not self.away:
                    self.thread = None
                    return
            pause.wait(PAUSE_SECONDS)

    def look(self) -> None:
        """Asks all nodes. If the coordinator does not answer, no node is away: each statement fails there anyway."""
        try:
            with_own = connection.copy(NO_DB_ALIAS)
            try:
                places, away = nodes_away(with_own)
            finally:
                with_own.close()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("The nodes of the database cannot be asked: %s", words_of(error))
            places, away = {}, frozenset()
        except Exception:  # an error in our code must not end the thread, or devices would be refused for ever
            logger.exception("The nodes of the database cannot be asked")
            places, away = {}, frozenset()
        for node in away - self.away:
            logger.error("Node %s of the database does not answer: its devices are refused until it does", node)
        for node in self.away - away:
            logger.warning("Node %s of the database answers again", node)
        self.places, self.away = places, away
        placement.known_nodes.update(places)

    def require(self, device_ids: Collection[str]) -> None:
        """Raises NodeAway if one of these devices is on a node that does not answer, and DatabaseError."""
        if not self.away:
            return
        shards, away = placement.shards_of(device_ids), self.away
        if any(self.places.get(shard) in away for shard in shards.values()):
            raise NodeAway("The database node of these devices is away.")


watch = Watch()


def nodes_away(alone: BaseDatabaseWrapper) -> tuple[dict[int, int], frozenset[int]]:
    """The node of each shard, and the nodes that do not answer. `alone`: a connection that nothing has used yet.

    While a node is away, the locks of transactions that wait for it are freed on the others. Raises DatabaseError.
    """
    away, there = set(), []
    with alone.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, false)", [f"{ANSWER_SECONDS:g}s"])
        cursor.execute(placement.NODES)
        places = dict(cursor.fetchall())
        cursor.execute(WORKERS)
        for node, *address in cursor.fetchall():
            answers = False
            try:
                cursor.execute(ANSWERS, address)
                answers = bool(cursor.fetchone()[0])
            except OperationalError:
                if alone.connection.closed:  # it is the coordinator that does not answer
                    raise
            if answers:
                there.append(address)
            else:
                away.add(node)
        for address in there if away else ():
            with suppress(DatabaseError):
                cursor.execute(ON_NODE, [*address, FREE_LOCKS])
                if (ended := cursor.fetchone()[0]) != "0":
                    logger.warning("%s transactions ended at %s:%s that waited for another node", ended, *address)
    return places, frozenset(away)
