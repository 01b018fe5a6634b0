"""A worker process, as the supervisor sees it."""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import time
from typing import Self

from django.conf import settings

from telemetry.server.draining import CANCELLED_SECONDS, DRAIN_SECONDS
from telemetry.server.workers.shared_port import CLOSING, READY

logger = logging.getLogger(__name__)

# A worker that does not listen after this time is given up.
START_SECONDS = 60.0
# A worker that was told to end is killed after this time: that for its requests, and 2 s for the end of the process.
END_SECONDS = DRAIN_SECONDS + CANCELLED_SECONDS + 2.0


class WorkerProcess:
    """`listening_since`: from `time.monotonic`; None: it does not listen yet."""

    def __init__(self, process: asyncio.subprocess.Process, connection: socket.socket) -> None:
        self.process = process
        self.connection = connection
        self.listening_since: float | None = None
        self.readiness = asyncio.create_task(self.receive_ready())
        self.ending = asyncio.create_task(self.process.wait())

    @classmethod
    async def start(cls, listener: socket.socket) -> Self:
        """Raises OSError if the system has too few processes, files or memory, RuntimeError if too few threads.

        The process loads the code and the settings anew. It has a process group of its own, so that Ctrl-C reaches
        only the supervisor.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        descriptors = (listener.fileno(), theirs.fileno())
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    str(settings.BASE_DIR / "manage.py"),
                    "serve",
                    "--inherited",
                    *map(str, descriptors),
                    pass_fds=descriptors,
                    process_group=0,
                )
            except BaseException:
                ours.close()
                raise
        return cls(process, ours)

    async def receive_ready(self) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                if await asyncio.get_running_loop().sock_recv(self.connection, 1) == READY:
                    self.listening_since = time.monotonic()
        except TimeoutError:
            logger.error("The worker %d does not listen after %.0f s and is ended.", self.process.pid, START_SECONDS)
        except ConnectionError:  # it has ended
            pass

    async def wait_until_listening(self) -> bool:
        """False if it ended before it listened, or does not listen after START_SECONDS."""
        await asyncio.wait([self.readiness])
        return self.listening_since is not None

    async def wait_until_ended(self) -> str:
        """How it ended: `exit code 1`, `SIGKILL`."""
        code = await asyncio.shield(self.ending)
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name

    def announce_closing(self) -> None:
        """Makes `/health/ready` of this worker answer 503."""
        with contextlib.suppress(OSError):
            self.connection.send(CLOSING)

    async def end(self) -> None:
        """Lets it answer its requests and waits until it has ended; kills it after END_SECONDS."""
        self.readiness.cancel()
        await asyncio.wait([self.readiness])
        self.connection.close()
        if self.listening_since is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()
        ended, _ = await asyncio.wait([self.ending], timeout=END_SECONDS)
        if not ended:
            logger.error("The worker %d did not end within %.0f s and is killed.", self.process.pid, END_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await asyncio.wait([self.ending])
