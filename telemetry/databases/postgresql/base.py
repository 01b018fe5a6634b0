"""PostgreSQL with a pool for each kind of work, and connections that notice when the server does not answer."""

from typing import Any, ClassVar
from weakref import finalize

from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base, operations

from devices.database.work_kinds import Work, current_work
from telemetry.databases.postgresql.connections import PreparedCursor
from telemetry.databases.postgresql.pools import Pool, give_back


class DatabaseOperations(operations.DatabaseOperations):
    def last_executed_query(self, cursor: Any, sql: Any, params: Any) -> Any:
        """The statement with its parameters, for logs of queries; psycopg does not keep that of a prepared one."""
        prepared = isinstance(cursor, PreparedCursor)
        return self.compose_sql(sql, params) if prepared else super().last_executed_query(cursor, sql, params)


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's backend with one pool for each kind of work instead of one pool."""

    ops_class = DatabaseOperations
    pools: ClassVar[dict[tuple[str, Work], Pool]] = {}
    left_open: "finalize[Any, Any] | None" = None

    @property
    def pool(self) -> Pool | None:
        """The pool for `current_work`; None if Django connects without a pool, as when it creates a test database."""
        if self.alias == NO_DB_ALIAS or not self.settings_dict["OPTIONS"].get("pool"):
            return None
        key = (self.alias, current_work.get())
        if (pool := self.pools.get(key)) is None:
            # If several threads create one at the same time, all use the one stored first. None of them is open yet.
            pool = self.pools.setdefault(key, Pool(key[1], self.get_connection_params(), self.configure))
        return pool

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """A connection from the pool. It returns there even if this wrapper is garbage-collected without being closed.

        Django's wrappers are thread-local: if a server kills a request, nothing else closes its wrapper.
        """
        connection = super().get_new_connection(conn_params)
        if self.pool:
            self.left_open = finalize(self, give_back, connection)
            self.left_open.atexit = False
        return connection

    def _close(self) -> None:
        if self.left_open:
            self.left_open.detach()
        super()._close()  # type: ignore[misc]  # the stubs leave it out

    def configure(self, connection: Any) -> None:
        """Applies Django's set-up to a new connection."""
        self._configure_connection(connection)  # type: ignore[attr-defined]  # the stubs leave it out

    def close_pool(self) -> None:
        for key in [key for key in self.pools if key[0] == self.alias]:
            self.pools.pop(key).close()
