"""How the C library's allocator keeps freed memory."""

import ctypes

M_ARENA_MAX = -8  # mallopt(3)
ARENAS_MAX = 2


def limit_arenas() -> bool:
    """Limits glibc to ARENAS_MAX pools of memory; returns whether that was possible. Call it before threads start.

    By default each thread gets a pool of its own, up to eight for each core, and what a thread has freed stays in its
    pool. A process that has made a large answer in each thread then keeps half as much again. Python's objects are
    allocated under its own lock, so that threads hardly ever wait for a pool.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # not glibc
        return False
    return bool(mallopt(M_ARENA_MAX, ARENAS_MAX))


def return_free_memory() -> bool:
    """Returns freed memory to the system, about 2 MB after start; returns whether there was any."""
    try:
        malloc_trim = ctypes.CDLL(None).malloc_trim
    except AttributeError:  # not glibc
        return False
    return bool(malloc_trim(0))
