"""What a process that serves no pages imports: each library takes memory of every process."""

import os
import subprocess
import sys

import pytest
from django.conf import settings

pytestmark = pytest.mark.once

PROGRAM = """
import sys
import django
django.setup()
import telemetry.management.commands.mqtt
print(*{name.partition(".")[0] for name in sys.modules})
"""


def test_the_process_for_mqtt_imports_no_redis_without_its_address_and_no_http_client():
    """Redis with its encryption takes 19 MB, httpx 3 MB, apprise with all its services 30 MB."""
    environment = os.environ | {
        "ENV_FILE": os.devnull,
        "DJANGO_SETTINGS_MODULE": "telemetry.settings",
        "SECRET_KEY": "secret-key-of-the-test-0123456789-0123456789-0123456789",
        "API_SECRET_KEY": "admin-key-of-the-test-0123456789",
        "DATABASE_URL": "sqlite:///unused.sqlite3",
        "REDIS_URL": "",
    }

    program = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, cwd=settings.BASE_DIR, capture_output=True, text=True
    )

    assert program.returncode == 0, program.stderr
    assert not {"redis", "channels_redis", "cryptography", "httpx", "apprise"} & set(program.stdout.split())
