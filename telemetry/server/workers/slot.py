"""One of the N places for a worker: starts its worker, starts it again when it has ended by itself, and replaces it."""

import asyncio
import logging
import socket
import time

from telemetry.server.workers.process import WorkerProcess

logger = logging.getLogger(__name__)

# A worker that ends by itself before it listens, or this soon after, counts as failed. The next one is then started
# after a pause of 1 s, which doubles with each further failure in a row.
QUICK_SECONDS = 10.0
PAUSE_SECONDS_MAX = 30.0
# When the system has too few processes, files or memory for now; RuntimeError: or threads, with which asyncio waits.
SCARCE = (OSError, RuntimeError)


class Slot:
    """`worker` serves (None: it has ended). `processes` are all that run, also those that start or end."""

    def __init__(self, listener: socket.socket, number: int) -> None:
        self.listener = listener
        self.number = number
        self.worker: WorkerProcess | None = None
        self.processes: set[WorkerProcess] = set()
        self.changing = asyncio.Lock()
        self.watching: asyncio.Task[str] | None = None  # until the worker has ended
        self.listening = asyncio.Event()

    async def keep(self) -> None:
        """Has a worker running until it is cancelled. `listening` is set once the first one listens."""
        failures = 0
        while True:
            lived = 0.0
            try:
                async with self.changing:
                    worker = self.worker = self.worker or await self.start()
            except SCARCE as error:
                how = str(error)
            else:
                found = await self.until_ended(worker)
                if found is None:
                    failures = 0
                    continue
                how = found
                self.worker = None
                if worker.listening_since is not None:
                    lived = time.monotonic() - worker.listening_since
            failures = failures + 1 if lived < QUICK_SECONDS else 0
            pause = pause_after(failures)
            logger.error(
                "Worker %d ended by itself (%s) after %.0f s of service. Another is started in %.0f s.",
                self.number, how, lived, pause,
            )  # fmt: skip
            await asyncio.sleep(pause)

    async def until_ended(self, worker: WorkerProcess) -> str | None:
        """How the worker has ended by itself; None, at once, if it is replaced."""
        if await worker.wait_until_listening():
            self.listening.set()
        elif worker is self.worker:
            await worker.end()
        if worker is not self.worker:
            return None
        self.watching = asyncio.create_task(worker.wait_until_ended())
        await asyncio.wait([self.watching])
        return self.watching.result() if worker is self.worker else None

    async def start(self) -> WorkerProcess:
        """Raises the errors of SCARCE."""
        worker = await WorkerProcess.start(self.listener)
        self.processes.add(worker)
        worker.ending.add_done_callback(lambda _: self.processes.discard(worker))
        return worker

    async def replace(self) -> bool:
        """Ends the worker once another one listens in its place. False, and nothing changes, if that fails."""
        async with self.changing:
            try:
                new = await self.start()
            except SCARCE as error:
                logger.error("A worker cannot be started: %s", error)
                return False
            if not await new.wait_until_listening():
                await new.end()
                return False
            old, self.worker = self.worker, new
            if self.watching is not None:
                self.watching.cancel()  # `keep` watches the new one, however long the old one takes to end
        if old is not None:
            await old.end()
        return True


def pause_after(failures: int) -> float:
    """Seconds before the next start after so many failures in a row: 0, 1, 2, 4 … PAUSE_SECONDS_MAX."""
    return min(2.0 ** (failures - 1), PAUSE_SECONDS_MAX) if failures else 0.0
