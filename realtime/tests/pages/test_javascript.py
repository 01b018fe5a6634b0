"""The pages' JavaScript, tested by node's own test runner: `realtime/tests/javascript`."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import realtime

pytestmark = pytest.mark.once

PACKAGE = Path(realtime.__file__).parent
NODE = shutil.which("node") or ""
# The first with the parts of node:test that the tests use.
OLDEST = 18


@pytest.mark.skipif(not NODE, reason="node is not installed")
def test_javascript(tmp_path):
    version = subprocess.run([NODE, "--version"], check=True, capture_output=True, text=True).stdout
    assert int(version[1:].partition(".")[0]) >= OLDEST, f"node {version.strip()} is older than {OLDEST}"
    # A copy, since node before 20.19 needs a package.json to read .js as modules, and static/ is served.
    for folder in ("static/realtime", "tests/javascript"):
        shutil.copytree(PACKAGE / folder, tmp_path / folder)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    files = sorted(str(path) for path in (tmp_path / "tests/javascript").glob("*.test.js"))
    assert files

    run = subprocess.run(
        [NODE, "--test", "--test-reporter=tap", *files],
        cwd=tmp_path,
        env=os.environ | {"TZ": "UTC"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
