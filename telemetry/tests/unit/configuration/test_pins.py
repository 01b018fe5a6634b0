"""The versions that pip installs (requirements*.txt) and those that uv installs (pyproject.toml) are the same."""

import tomllib
from pathlib import Path

import pytest
from django.conf import settings

pytestmark = pytest.mark.once

ROOT = Path(settings.BASE_DIR)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize(
    ("file", "in_project"),
    [
        ("requirements.txt", PROJECT["project"]["dependencies"]),
        ("requirements-dev.txt", PROJECT["dependency-groups"]["dev"]),
    ],
)
def test_pip_and_uv_install_the_same_versions(file, in_project):
    lines = [line.strip() for line in (ROOT / file).read_text().splitlines()]
    pinned = [line for line in lines if line and not line.startswith(("#", "-r "))]

    assert pinned == in_project, f"{file} and pyproject.toml differ: run .ci/pins"
    assert all("==" in pin for pin in pinned)
