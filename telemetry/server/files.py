"""The limit of open files (RLIMIT_NOFILE): raised at the start, and partly reserved for the process itself."""

import logging
import resource

from telemetry.monitoring.logging import Periodically

logger = logging.getLogger(__name__)

# The same value as LimitNOFILE in docs/deployment/telemetry-web@.service.
FILES_MAX = 65_536
# Files kept free for the database, Redis, request bodies and the log; at most a quarter of the limit.
RESERVED_FILES = 100
LOG_SECONDS = 60.0

scarcity = Periodically(LOG_SECONDS)


def raise_file_limit() -> None:
    """Raises the soft limit to the hard limit, at most to FILES_MAX. Systems often set it to 1,024, for select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def files_are_scarce(descriptor: int) -> bool:
    """Whether a connection with this file descriptor leaves fewer files than reserved. Logged once a minute.

    The kernel gives out the lowest free descriptor, so a high one means that almost all below it are in use.
    """
    limit, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY or descriptor < limit - min(RESERVED_FILES, limit // 4):
        return False
    if scarcity.due():
        logger.error(
            "New connections are refused: %d files are open and the limit is %d. Raise it (LimitNOFILE in the systemd "
            "unit, or ulimit -n), or find out who opens so many connections.",
            descriptor,
            limit,
        )
    return True
