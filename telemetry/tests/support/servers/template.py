"""A migrated database without rows, which the servers of tests begin with: migrating takes longer than all else."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from functools import cache
from pathlib import Path

import psycopg
from django.conf import settings
from django.db import connection


def server_url(database: str) -> str:
    """The address of this database on the PostgreSQL server of the test run."""
    entry = settings.DATABASES["default"]
    return "postgresql://{}@{}:{}/{}".format(
        ":".join(filter(None, (entry["USER"], entry["PASSWORD"]))), entry["HOST"], entry["PORT"] or 5432, database
    )


def administer(statement: str) -> None:
    with psycopg.connect(server_url("postgres"), autocommit=True) as administrator:
        administrator.execute(statement)


@cache
def template() -> str:
    """The name of a migrated PostgreSQL database, or the path of a SQLite file; each process of a run has its own."""
    if connection.vendor == "postgresql":
        name = f"telemetry_template_{uuid.uuid4().hex[:8]}"
        administer(f"CREATE DATABASE {name}")
        atexit.register(administer, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        url = server_url(name)
    else:
        folder = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, folder)
        name = str(Path(folder, "template.sqlite3"))
        url = f"sqlite:///{name}"
    environment = {
        "PATH": os.environ["PATH"],
        "ENV_FILE": os.devnull,
        "SECRET_KEY": "secret-key-of-the-template-0123456789-0123456789",
        "API_SECRET_KEY": "admin-key-of-the-template-0123456789",
        "DATABASE_URL": url,
    }
    command = [sys.executable, "manage.py", "migrate", "-v0"]
    subprocess.run(command, env=environment, cwd=settings.BASE_DIR, check=True)
    return name


def create_database(name: str, *, migrated: bool) -> None:
    """Creates a PostgreSQL database; `migrated`: with the schema."""
    administer(f"CREATE DATABASE {name}" + (f" TEMPLATE {template()}" if migrated else ""))


def copy_database(path: Path) -> None:
    """Creates a SQLite file with the schema."""
    shutil.copy(template(), path)
