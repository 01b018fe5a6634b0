# shellcheck shell=sh
# Read by the other scripts in this folder: finds the installation and the database that its settings name.
# Sets PYTHON, SETTINGS, and DATABASE_FILE for SQLite or PGHOST, PGUSER, PGPASSWORD and so on for PostgreSQL.

fail() {
	echo "$*" >&2
	exit 1
}

cd "$(dirname "$0")/../.." || exit
PYTHON=$PWD/.venv/bin/python
[ -x "$PYTHON" ] || PYTHON=python3 # in a container
found=$(
	"$PYTHON" - <<'END'
import os
import shlex
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "telemetry.settings")
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

try:
    database = settings.DATABASES["default"]
except ImproperlyConfigured as error:
    sys.exit(f"The configuration cannot be used. {error}")
values = {"SETTINGS": settings.ENV_FILE, "DATABASE_FILE": ""}
if database["ENGINE"].endswith("sqlite"):
    values["DATABASE_FILE"] = database["NAME"]
else:
    names = {"PGHOST": "HOST", "PGPORT": "PORT", "PGUSER": "USER", "PGPASSWORD": "PASSWORD", "PGDATABASE": "NAME"}
    values |= {name: database.get(key) for name, key in names.items()}
    for name in ("sslmode", "sslrootcert", "sslcert", "sslkey"):
        values[f"PG{name.upper()}"] = database["OPTIONS"].get(name)
for name, value in values.items():
    if value or name == "DATABASE_FILE":
        print(f"export {name}={shlex.quote(str(value))}")
END
)
eval "$found"
