"""`make recipes`: runs every recipe whose software is installed, and says which ran, in which version, and why not.

The exit code is 1 if a recipe failed. Servers, their logs and the recipes' files are in .cache/recipes-run/.
"""

import argparse
import shutil
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.pages.console import ROOT
from benchmarks.recipes import (
    boards,
    clients,
    command_line,
    data_frames,
    esphome,
    home_assistant,
    home_assistant_influxdb,
    node_red,
    prometheus,
    spreadsheets,
)
from benchmarks.recipes.installation import Installation
from benchmarks.recipes.software import NotInstalled

FOLDER = ROOT / ".cache" / "recipes-run"
RECIPES: Mapping[str, Callable[[Installation, Path], str]] = {
    "curl": command_line.run,
    "python": boards.python,
    "micropython": boards.micropython,
    "home-assistant": home_assistant.run,
    "home-assistant-influxdb": home_assistant_influxdb.run,
    "influxdb3": clients.influxdb_3,
    "thingsboard": clients.thingsboard,
    "mqtt.js": clients.mqtt_js,
    "esphome": esphome.run,
    "node-red": node_red.run,
    "prometheus": prometheus.run,
    "pandas": data_frames.run,
    "spreadsheets": spreadsheets.run,
}


def outcome(name: str) -> str:
    """Runs one recipe against a new server: `ran`, `skipped` or `FAILED`, with the version or the reason."""
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "server").mkdir(parents=True)
    try:
        with Installation(folder / "server") as installation:
            return f"ran      {RECIPES[name](installation, folder)}"
    except NotInstalled as reason:
        return f"skipped  {reason}"
    except Exception:  # the other recipes are run all the same
        return f"FAILED   see {folder}\n{traceback.format_exc()}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make recipes", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}; default: all")
    names = parser.parse_args().names or list(RECIPES)
    if unknown := set(names) - RECIPES.keys():
        parser.error(f"There is no recipe {', '.join(sorted(unknown))}.")
    failed = False
    for name in names:
        result = outcome(name)
        failed = failed or result.startswith("FAILED")
        print(f"{name:<24}{result}", flush=True)  # noqa: T201
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
