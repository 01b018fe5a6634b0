"""Generates load with wrk."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import msgspec

SCRIPT = Path(__file__).with_name("post.lua")


class Load(msgspec.Struct, frozen=True):
    """The results of one run of wrk. `refused` counts answers that are not 2xx, `failed` requests without an answer."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    failed: int

    @property
    def per_second(self) -> float:
        return (self.requests - self.refused) / self.seconds


@dataclass(frozen=True)
class Target:
    """The requests: POSTs to `path` with a random body of the file `bodies` and a random key of the file `keys`."""

    path: str
    keys: Path
    bodies: Path
    content_type: str = "application/json"


def run(url: str, target: Target, *, connections: int, seconds: int) -> Load:
    """Posts over `connections` connections for `seconds` seconds. Raises CalledProcessError if wrk fails."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--timeout", "20s", "-s", str(SCRIPT), url, "--"]
    command += [target.path, str(target.keys), str(target.bodies), target.content_type]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    line = next(line for line in printed.splitlines() if line.startswith("RESULT "))
    return Load(**json.loads(line.removeprefix("RESULT ")))
