"""Database work of the sockets."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from devices.database.runner import DatabaseRunner
from devices.database.work import Work

P = ParamSpec("P")
T = TypeVar("T")

# How long a socket, or a check of all of them, waits for the database, in seconds.
ANSWER_SECONDS = 12.0
# Questions that may wait; a server that restarts has as many sockets that want to be admitted at once.
WAITING_MAX = 10_000

# Two threads, since a replay of a whole log takes longer than a look at positions.
runner = DatabaseRunner("realtime", work=Work.LIVE, threads=2, seconds=ANSWER_SECONDS, waiting_max=WAITING_MAX)
# Whether a credential still counts must not wait behind replays.
credential_runner = DatabaseRunner(
    "realtime-credentials", work=Work.LIVE, threads=1, seconds=ANSWER_SECONDS, waiting_max=WAITING_MAX
)


async def in_database(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs the function where it may use the ORM. Raises what it raises, and DatabaseTimeout."""
    return await runner.run(function, *args, **kwargs)


async def credentials_in_database(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As `in_database`, in a thread that does nothing else."""
    return await credential_runner.run(function, *args, **kwargs)
