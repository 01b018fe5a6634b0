"""ESPHome checks the two configurations. It does not compile them, because it downloads its compiler."""

from pathlib import Path

from benchmarks.recipes.documents import blocks, filled_in
from benchmarks.recipes.installation import Installation
from benchmarks.recipes.software import output, program

INSTALL = "python3 -m venv .cache/recipes/esphome && .cache/recipes/esphome/bin/pip install esphome"
BOARD = """
esphome: {name: greenhouse}
esp32: {board: esp32dev, framework: {type: esp-idf}}
wifi: {ssid: network, password: password}
"""
SENSORS = """
sensor:
  - {platform: template, id: my_temperature}
  - {platform: template, id: my_humidity}
"""


def run(installation: Installation, folder: Path) -> str:
    esphome = program("esphome", install=INSTALL)
    (post,) = blocks("connect.md", "ESPHome")
    (show,) = blocks("recipes.md", "ESPHome")
    for name, recipe in {"post": post + SENSORS, "show": show}.items():
        file = folder / f"{name}.yaml"
        file.write_text(BOARD + filled_in(recipe, url=installation.url, key=installation.key))
        output(esphome, "config", file)
    return f"ESPHome {output(esphome, 'version').split()[-1]}, config"
