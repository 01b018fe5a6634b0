"""Threads for the database work of the live sockets."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from devices.database.runner import DatabaseRunner
from devices.database.work_kinds import Work

P = ParamSpec("P")
T = TypeVar("T")

# Seconds that a socket, or a check of all sockets, waits for the database.
ANSWER_SECONDS = 12.0
# Calls that may wait in the queue. After a restart, all sockets reconnect and want to be admitted at once.
WAITING_MAX = 10_000

# Two threads, because the replay of a whole log takes longer than a query for positions.
runner = DatabaseRunner("realtime", work=Work.LIVE, threads=2, seconds=ANSWER_SECONDS, waiting_max=WAITING_MAX)
# Credential checks have their own thread, so that they never wait behind replays.
credential_runner = DatabaseRunner(
    "realtime-credentials", work=Work.LIVE, threads=1, seconds=ANSWER_SECONDS, waiting_max=WAITING_MAX
)


async def in_database(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs `function` in a thread that may use the ORM. Raises what it raises, and DatabaseTimeout."""
    return await runner.run(function, *args, **kwargs)


async def credentials_in_database(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Does the same as `in_database`, in the thread for credential checks."""
    return await credential_runner.run(function, *args, **kwargs)
