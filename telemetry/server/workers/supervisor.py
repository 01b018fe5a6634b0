"""Runs workers that serve on one port, replaces them one after the other (SIGHUP), and ends them (SIGTERM, SIGINT).

The listening socket stays open in this process: when a worker ends, connections that it has not accepted wait for
another worker.
"""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable

from telemetry.server.draining import HANDSHAKE_SECONDS, begin_no_more
from telemetry.server.workers.slot import Slot

logger = logging.getLogger(__name__)


class Supervisor:
    """`lead`: seconds for which the port stays open after SIGTERM, while `/health/ready` answers 503.

    `ready` is called once all workers listen. To be made in the event loop.
    """

    def __init__(self, listener: socket.socket, *, count: int, lead: float, ready: Callable[[], None]) -> None:
        self.listener = listener
        self.lead = lead
        self.ready = ready
        self.slots = [Slot(listener, number + 1) for number in range(count)]
        self.hangup = asyncio.Event()

    async def run(self) -> None:
        """Returns after SIGTERM or SIGINT, when all workers have ended."""
        loop = asyncio.get_running_loop()
        told = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told.set)
        loop.add_signal_handler(signal.SIGHUP, self.hangup.set)
        tasks = [asyncio.create_task(slot.keep()) for slot in self.slots]
        tasks += [asyncio.create_task(self.say_ready()), asyncio.create_task(self.replace_after_hangups())]
        await told.wait()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await self.stop()

    async def say_ready(self) -> None:
        for slot in self.slots:
            await slot.listening.wait()
        self.ready()

    async def replace_after_hangups(self) -> None:
        while True:
            await self.hangup.wait()
            self.hangup.clear()
            logger.info("SIGHUP: the workers are replaced one after the other.")
            for slot in self.slots:
                if not await slot.replace():
                    logger.error(
                        "A new worker did not listen, so the others are not replaced and go on. "
                        "Its messages above say why. Send SIGHUP again when this is mended."
                    )
                    break
            else:
                logger.info("All workers were replaced.")

    async def stop(self) -> None:
        workers = [worker for slot in self.slots for worker in slot.processes]
        for worker in workers:
            worker.announce_closing()
        await asyncio.sleep(self.lead)
        begin_no_more(self.listener)
        await asyncio.sleep(HANDSHAKE_SECONDS)
        # The workers accept what waits before they close the port.
        self.listener.close()
        await asyncio.gather(*(worker.end() for worker in workers))
