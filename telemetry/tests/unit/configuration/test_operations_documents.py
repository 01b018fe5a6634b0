"""The commands, classes and files that the documents, the units and the containers name are there."""

import os
import re

import pytest
from django.conf import settings
from django.core.management import get_commands
from django.utils.module_loading import import_string

pytestmark = pytest.mark.once

ROOT = settings.BASE_DIR
DEPLOYMENT = ROOT / "docs" / "deployment"
NAMING = [
    *(ROOT / "docs").glob("*.md"),
    *DEPLOYMENT.iterdir(),
    *(ROOT / name for name in ("README.md", "Dockerfile", "compose.yaml", ".env.example", "Makefile")),
]
TEXTS = {path.name: path.read_text() for path in NAMING}
SCRIPTS = ("backup", "restore", "upgrade", "undo")


def named(pattern):
    """(file, what `pattern` found in it) of all files."""
    return sorted({(name, found) for name, text in TEXTS.items() for found in re.findall(pattern, text)})


def test_every_command_exists():
    found = named(r'manage\.py"?,? "?([a-z_]+)')
    assert {"prepare", "serve", "maintain", "up"} <= {command for _, command in found}
    assert [(name, command) for name, command in found if command not in get_commands()] == []


def test_every_class_of_a_server_exists():
    found = named(r"\btelemetry\.[\w.]+:\w+")
    assert len({path for _, path in found}) >= 3
    for name, path in found:
        assert import_string(path.replace(":", ".")), name


def test_every_file_of_the_deployment_folder_is_explained():
    operations = TEXTS["operations.md"]
    for path in DEPLOYMENT.iterdir():
        reader = "backup" if path.name == "settings.sh" else "operations.md"
        assert path.name in TEXTS[reader] or path.suffix == ".service", path.name
    assert "cp docs/deployment/*.service /etc/systemd/system/" in operations
    for name in SCRIPTS:
        assert f"[`{name}`](deployment/{name})" in operations
        assert f"docs/deployment/{name} " in operations


def test_every_file_of_the_deployment_folder_that_is_named_exists():
    found = named(r"(?:docs/)?deployment/([\w.@-]+)")
    assert [(name, file) for name, file in found if not (DEPLOYMENT / file).exists()] == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_can_be_run_and_says_how(name):
    script = DEPLOYMENT / name
    assert os.access(script, os.X_OK)
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/bin/sh"
    assert f"docs/deployment/{name} FOLDER" in lines[1]
    assert "set -eu" in lines


def test_the_units_use_the_folders_of_the_document():
    for path in DEPLOYMENT.glob("*.service"):
        unit = path.read_text()
        assert "WorkingDirectory=/opt/telemetry\n" in unit
        assert "ENV_FILE=/etc/telemetry/env" in unit
        assert "ExecStart=/opt/telemetry/.venv/bin/python manage.py " in unit
        assert "User=telemetry\n" in unit
