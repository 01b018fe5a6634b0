"""Schemathesis against the live schema of a real server: every operation, every check.

FUZZ_EXAMPLES: how many requests for each operation, beyond those that every schema gets; `make fuzz` takes more.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from telemetry.tests.support.servers.server import ADMIN_KEY, Server

pytestmark = [pytest.mark.e2e, pytest.mark.long]

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "3"))
# The quick suite sends the same requests each time; with FUZZ_EXAMPLES they are random.
SEED = [] if "FUZZ_EXAMPLES" in os.environ else ["--seed", "1"]
SECONDS_MAX = 220 + 20 * EXAMPLES

# Ingest and the doors use a device's key, all other operations the administrator's.
CONFIGURATION = """
hooks = "{hooks}"
headers = {{ X-API-Key = "{admin_key}" }}

[[operations]]
include-path-regex = "/ingest|/doors|^/write|^/query|/v2/write"
headers = {{ X-API-Key = "{device_key}" }}
"""


def test_the_server_and_its_schema_agree(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        device_key = server.register("mote-1")
        server.register("mote-2")
        configuration = tmp_path / "schemathesis.toml"
        hooks = Path(settings.BASE_DIR, "telemetry", "tests", "support", "schemathesis_hooks.py")
        configuration.write_text(CONFIGURATION.format(hooks=hooks, admin_key=ADMIN_KEY, device_key=device_key))
        done = subprocess.run(
            [
                *(Path(sys.executable).with_name("schemathesis"), "--config-file", configuration),
                *("run", f"{server.url}/api/v1/schema", "--checks", "all", "--continue-on-failure", "--no-color"),
                *("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", str(EXAMPLES), *SEED),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )

        assert done.returncode == 0, done.stdout + done.stderr
        assert server.process.poll() is None
