"""LibreOffice Calc: opens the CSV export; the times are dates and the values numbers."""

import re
import shlex
from pathlib import Path

from benchmarks.recipes.documents import blocks, filled_in
from benchmarks.recipes.installation import Installation
from benchmarks.recipes.software import output, program

# What the recipe says to choose: separator comma (44), quote (34), UTF-8 (76), from line 1, no column types, English
# (USA) (1033), quoted fields as text: no, detect special numbers: yes.
IMPORT = "CSV:44,34,76,1,,1033,false,true"
DATE = re.compile(r'<table:table-cell [^>]*office:date-value="(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[\d.]*)"')


def run(installation: Installation, folder: Path) -> str:
    soffice = program("soffice", install="apt-get install libreoffice-calc")
    for temperature, age in ((20.0, 7200), (21.5, 3600), (23.0, 0)):
        installation.post(temperature=temperature, age_seconds=age)
    (recipe,) = blocks("recipes.md", "Spreadsheets")
    command = shlex.split(filled_in(recipe, url=installation.url, key=installation.key))
    file = folder / command[-1]
    output(*command[:-1], file)
    profile = f"-env:UserInstallation=file://{folder / 'profile'}"
    output(soffice, profile, "--headless", f"--infilter={IMPORT}", "--convert-to", "fods", "--outdir", folder, file)
    sheet = file.with_suffix(".fods").read_text()
    dates = DATE.findall(sheet)
    if len(dates) != 3 or dates != sorted(dates):
        raise AssertionError(f"LibreOffice reads these times: {dates}")
    for number in ("20", "21.5", "23"):
        if f'office:value-type="float" office:value="{number}"' not in sheet:
            raise AssertionError(f"LibreOffice does not read the number {number}.")
    return " ".join(output(soffice, profile, "--version").split()[:2])
