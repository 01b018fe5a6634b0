"""pandas: reads a history and statistics."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.recipes.documents import blocks, filled_in
from benchmarks.recipes.installation import Installation
from benchmarks.recipes.software import FOLDER, NotInstalled, output, program

INSTALL = "python3 -m venv .cache/recipes/pandas && .cache/recipes/pandas/bin/pip install pandas"
CHECKS = """
assert str(readings.index.dtype).startswith("datetime64") and str(readings.index.tz) == "UTC", readings.index
assert list(readings.temperature) == [20.0, 21.5, 23.0], readings
assert str(readings.temperature.dtype) == "float64", readings.dtypes
assert str(statistics.start.dtype).startswith("datetime64") and str(statistics.start.dt.tz) == "UTC", statistics.dtypes
assert statistics["metrics.temperature.count"].sum() == 3, statistics
assert statistics["metrics.temperature.max"].max() == 23.0, statistics
print("pandas", pd.__version__)
"""


def python_with_pandas() -> str:
    """A Python that has pandas: that of FOLDER, else the one in PATH. Raises NotInstalled."""
    own = FOLDER / "pandas" / "bin" / "python"
    python = str(own) if own.exists() else program("python3", install="apt-get install python3")
    try:
        output(python, "-c", "import pandas")
    except RuntimeError as error:
        raise NotInstalled(f"{python} has no pandas: {INSTALL}") from error
    return python


def run(installation: Installation, folder: Path) -> str:
    python = python_with_pandas()
    # A time on a whole second beside times with a fraction: all must have one format.
    whole = (datetime.now(UTC) - timedelta(hours=2)).replace(microsecond=0)
    installation.import_history(f"device_id,timestamp,temperature\ndemo,{whole.isoformat()},20.0\n")
    for temperature, age in ((21.5, 3600), (23.0, 0)):
        installation.post(temperature=temperature, age_seconds=age)
    (recipe,) = blocks("recipes.md", "pandas")
    script = folder / "recipe.py"
    script.write_text(filled_in(recipe, url=installation.url, key=installation.key) + CHECKS)
    return output(python, script).splitlines()[-1]
