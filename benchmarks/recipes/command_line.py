"""curl: posts a reading."""

from pathlib import Path

from benchmarks.recipes.documents import blocks, filled_in
from benchmarks.recipes.installation import Installation
from benchmarks.recipes.software import output, program


def run(installation: Installation, folder: Path) -> str:
    curl = program("curl", install="apt-get install curl")
    (recipe,) = blocks("connect.md", "curl")
    output("sh", "-ec", filled_in(recipe, url=installation.url, key=installation.key))
    (reading,) = installation.readings()
    if reading["temperature"] != 21.5:
        raise AssertionError(f"The stored reading is {reading}.")
    return " ".join(output(curl, "--version").split()[:2])
