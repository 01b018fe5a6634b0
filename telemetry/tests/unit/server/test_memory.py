"""What a process that serves no pages imports: each library takes memory of every process."""

import os
import subprocess
import sys

import pytest
from django.conf import settings

from telemetry.apps import WITHOUT_PAGES

pytestmark = pytest.mark.once

PROGRAM = """
import sys
import django
command = sys.argv[1]
django.setup()
from django.core.management import load_command_class
load_command_class("readings" if command == "maintain" else "telemetry", command)
print(*sys.modules)
"""
# Redis with its encryption takes 19 MB, httpx 3 MB, apprise with all its services 30 MB, and the pages with DRF's
# parsers and serializers 14 MB.
FORBIDDEN = {
    *("redis", "channels_redis", "cryptography", "httpx", "apprise"),
    *("telemetry.urls", "devices.admin", "readings.admin", "rest_framework.serializers", "drf_spectacular.openapi"),
}


@pytest.mark.parametrize("command", WITHOUT_PAGES)
def test_a_process_without_pages_and_redis_imports_neither(command):
    environment = os.environ | {
        "ENV_FILE": os.devnull,
        "DJANGO_SETTINGS_MODULE": "telemetry.settings",
        "SECRET_KEY": "secret-key-of-the-test-0123456789-0123456789-0123456789",
        "API_SECRET_KEY": "admin-key-of-the-test-0123456789",
        "DATABASE_URL": "sqlite:///unused.sqlite3",
        "REDIS_URL": "",
    }

    program = subprocess.run(
        [sys.executable, "-c", PROGRAM, command], env=environment, cwd=settings.BASE_DIR, capture_output=True, text=True
    )

    assert program.returncode == 0, program.stderr
    assert not FORBIDDEN & set(program.stdout.split())
