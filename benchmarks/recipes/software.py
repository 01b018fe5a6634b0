"""Finds the installed programs, and says how to install what is missing."""

import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.pages.console import ROOT

# Where CONTRIBUTING says to install what is not in Debian: a virtual environment for each, and node_modules.
FOLDER = ROOT / ".cache" / "recipes"


class NotInstalled(Exception):
    """The software of a recipe is not installed; the message says how to install it."""


def program(name: str, *, install: str) -> str:
    """The path of a program, in PATH or FOLDER. Raises NotInstalled."""
    folders = [*FOLDER.glob("*/bin"), FOLDER / "node_modules" / ".bin"]
    path = os.pathsep.join([os.environ["PATH"], *map(str, sorted(folders))])
    if found := shutil.which(name, path=path):
        return found
    raise NotInstalled(f"{name} is not installed: {install}")


def output(*command: str | Path, **environment: str) -> str:
    """What a command prints. Raises RuntimeError with all of it if the command fails."""
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, timeout=600)
    if result.returncode:
        raise RuntimeError(f"{command[0]} ended with {result.returncode}:\n{result.stdout}{result.stderr}")
    return result.stdout
