import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

pytestmark = [pytest.mark.once, pytest.mark.slow]

# In a new process, because only the very first requests for a schema can interfere.
STORY = """
import django; django.setup()
from concurrent.futures import ThreadPoolExecutor
from django.test import Client

with ThreadPoolExecutor(8) as threads:
    answers = list(threads.map(lambda _: Client().get("/api/v1/schema").status_code, range(8)))
print(answers)
"""


def test_the_first_schemas_can_be_asked_for_at_once(tmp_path: Path) -> None:
    environment = {
        "DJANGO_SETTINGS_MODULE": "telemetry.settings",
        "ENV_FILE": str(tmp_path / ".env"),
        "SECRET_KEY": "secret-key-of-the-tests-0123456789-0123456789",
        "API_SECRET_KEY": "admin-key-of-the-tests-0123456789",
        "ALLOWED_HOSTS": "testserver",
        "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
    }
    story = subprocess.run(
        [sys.executable, "-c", STORY], env=environment, cwd=settings.BASE_DIR, capture_output=True, text=True
    )

    assert story.stdout.splitlines()[-1:] == [str([200] * 8)], story.stderr
