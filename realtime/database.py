"""Database work of the sockets, in threads of their own: outside a request Django's async code shares one thread."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

from django.db import connection

P = ParamSpec("P")
T = TypeVar("T")

# One for what may take longer, as a replay of a whole log, and one beside it.
threads = ThreadPoolExecutor(2, "realtime")


async def in_database(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs the function where it may use the ORM, and gives its connection back. Raises what it raises."""
    return await asyncio.get_running_loop().run_in_executor(threads, partial(run, function, *args, **kwargs))


def run(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    try:
        return function(*args, **kwargs)
    finally:
        connection.close()  # each thread has its own
