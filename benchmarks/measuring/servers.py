"""Starts the servers under test, waits for them, measures their memory and ends them."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

START_SECONDS = 60
STOP_SECONDS = 30


class Server:
    """A server process that listens on `port`; its peak memory is read before it is ended."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        port: int,
        log: Path,
        environment: Mapping[str, str],
        folder: Path | None = None,
        start_seconds: float = START_SECONDS,
    ) -> None:
        """`folder` is its working directory; None means that of the benchmark. It must listen in `start_seconds`."""
        self.command = command
        self.port = port
        self.log = log
        self.folder = folder
        self.start_seconds = start_seconds
        self.environment = {"PATH": os.environ["PATH"], **environment}
        self.url = f"http://127.0.0.1:{port}"

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=self.environment, cwd=self.folder)
        deadline = time.monotonic() + self.start_seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.1)
        self.__exit__()
        raise RuntimeError(f"{' '.join(self.command)} does not listen:\n{self.log.read_text()[-2000:]}")

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def peak_memory_mb(self) -> float:
        """The peak of its resident memory (VmHWM) in MB, with that of its children."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return sum(map(peak_memory_mb, [self.process.pid, *map(int, children)]))


def peak_memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6
