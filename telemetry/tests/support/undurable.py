"""Saves the waits for the disk in databases that end with the test run, because no crash has to be survived."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

MEMORY = Path("/dev/shm")
# Free bytes that the test databases and Chromium, which uses the same place, need at most.
FREE_BYTES_MIN = 1 << 30


def make_undurable(entry: dict[str, Any], *, vendor: str) -> None:
    """Changes an entry of `DATABASES`: SQLite's file is in memory if possible, PostgreSQL commits asynchronously.

    Servers of end-to-end tests have their own settings and stay durable.
    """
    if vendor == "postgresql":
        entry["OPTIONS"]["options"] += " -c synchronous_commit=off"
    elif MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= FREE_BYTES_MIN:
        # A folder, because there are lock files beside the database.
        folder = tempfile.mkdtemp(prefix="telemetry-test-", dir=MEMORY)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        entry["TEST"]["NAME"] = str(Path(folder, Path(entry["TEST"]["NAME"]).name))
