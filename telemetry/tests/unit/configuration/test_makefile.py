import os
import shutil
import subprocess

import pytest
from django.conf import settings

pytestmark = pytest.mark.once

# As Debian's python3 without python3-venv: venv fails with words on both outputs.
PYTHON = """#!/bin/sh
case "$*" in
"-m venv "*) mkdir -p .venv/bin; echo "ensurepip is not available"; echo "Failing command" >&2; exit 1 ;;
"-m virtualenv "*) mkdir -p .venv/bin; touch .venv/bin/python ;;
esac
"""


def test_a_python_without_venv_is_replaced_by_virtualenv_without_a_word(tmp_path):
    shutil.copy(settings.BASE_DIR / "Makefile", tmp_path)
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)

    command = ["make", ".venv/bin/python", f"PYTHON={python}"]
    # A `make` that calls the tests passes its flags on, and a nested one names its folder.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == ("Setting up .venv…\n", "")
    assert (tmp_path / ".venv" / "bin" / "python").exists()
