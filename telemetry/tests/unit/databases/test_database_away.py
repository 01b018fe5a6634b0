import pytest
from django.db import (
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)
from psycopg import errors
from psycopg.errors import UndefinedColumn, UndefinedTable

from devices.database.runner import RunnerBusy
from devices.database.work_kinds import DatabaseTimeout
from devices.tests.fixtures import problem, staff_client

pytestmark = pytest.mark.django_db

DEVICES = "/api/v1/devices"


def raised_from(error: Exception, cause: Exception) -> Exception:
    """The error as Django raises it, with psycopg's as its cause."""
    error.__cause__ = cause
    return error


@pytest.fixture
def database_fails(monkeypatch):
    """Makes every query fail with an error, once it is called."""

    def start(error):
        def execute(*_args, **_kwargs):
            raise error

        monkeypatch.setattr("django.db.backends.utils.CursorWrapper.execute", execute)

    return start


@pytest.fixture
def database_away(database_fails):
    return lambda: database_fails(OperationalError("connection refused: user=telemetry password=secret"))


def unavailable(response, code):
    """Asserts that this is a 503 with Retry-After; returns its document."""
    document = problem(response, 503)
    assert document["title"] == "Unavailable"
    assert document["code"] == code
    assert int(response["Retry-After"]) > 0
    return document


def test_a_database_that_is_away_is_a_503(admin, mote, as_device, database_away):
    database_away()

    for response in (
        admin.get(DEVICES),
        admin.post(DEVICES, {"device_id": "mote-9"}),
        admin.get(f"{DEVICES}/mote-1/history"),
        admin.get(f"{DEVICES}/mote-1/aggregate"),
        as_device.get(f"{DEVICES}/mote-1"),
        as_device.post("/api/v1/ingest", {"temperature": 1}),
        as_device.post("/api/v1/ingest/batch", [{"temperature": 1}]),
    ):
        unavailable(response, "database_unavailable")
        assert "secret" not in response.content.decode()


def test_a_lost_connection_is_a_503(admin, database_fails):
    database_fails(InterfaceError("connection already closed"))

    unavailable(admin.get(DEVICES), "database_unavailable")


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("no such table: devices_device"),
        raised_from(ProgrammingError('relation "devices_device" does not exist'), UndefinedTable()),
    ],
)
def test_a_database_without_tables_is_a_503_that_says_what_to_do(admin, database_fails, error):
    database_fails(error)

    document = unavailable(admin.get(DEVICES), "no_tables")

    assert "no such table" in document["detail"]
    assert "manage.py migrate" in document["detail"]


@pytest.mark.parametrize(
    "error",
    [
        IntegrityError("duplicate key"),
        ProgrammingError("operator does not exist: text + integer"),
        raised_from(ProgrammingError('column "x" of relation "y" does not exist'), UndefinedColumn()),
    ],
)
def test_a_wrong_query_of_ours_is_no_503(admin, database_fails, error):
    database_fails(error)

    problem(admin.get(DEVICES), 500)


@pytest.mark.parametrize("path", ["/live/mote-1/", "/admin/"])
def test_a_database_that_is_away_is_a_page_in_a_browser(device, database_away, path):
    client = staff_client("operator", "readings.view_reading")
    database_away()

    response = client.get(path, HTTP_ACCEPT="text/html")

    assert response.status_code == 503
    assert response["Content-Type"].startswith("text/html")
    assert "cannot be reached" in response.content.decode()
    assert "Retry-After" in response


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (raised_from(InternalError("cannot execute INSERT"), errors.ReadOnlySqlTransaction()), "database_read_only"),
        (raised_from(InternalError("COPY failed on a node"), errors.InternalError_()), "database_failed"),
        (raised_from(NotSupportedError("FOR UPDATE over shards"), errors.FeatureNotSupported()), "database_busy"),
        (raised_from(OperationalError("No space left on device"), errors.DiskFull()), "database_full"),
        (raised_from(OperationalError("canceling statement"), errors.QueryCanceled()), "database_timeout"),
        (raised_from(OperationalError("lock timeout"), errors.LockNotAvailable()), "database_busy"),
        (raised_from(OperationalError("deadlock detected"), errors.DeadlockDetected()), "database_busy"),
        (raised_from(OperationalError("too many clients"), errors.TooManyConnections()), "database_busy"),
        (OperationalError("couldn't get a connection after 4.00 sec"), "database_busy"),
        (raised_from(OperationalError("terminating connection"), errors.AdminShutdown()), "database_unavailable"),
        (raised_from(OperationalError("could not read block"), errors.IoError()), "database_failed"),
        (DatabaseTimeout("The database did not answer within 5 s."), "database_timeout"),
        (RunnerBusy("The queue for database work is full."), "database_busy"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_error_that_may_pass_is_a_503_that_says_what_it_is(admin, as_device, database_fails, error, code):
    database_fails(error)

    for response in (
        admin.get(DEVICES),
        admin.post(DEVICES, {"device_id": "mote-9"}),
        admin.post(f"{DEVICES}/mote-1/rotate-key", {}),
        admin.post("/api/v1/realtime/tickets", {}),
        as_device.post("/api/v1/ingest", {"temperature": 1}),
    ):
        document = unavailable(response, code)
        assert ("DATABASE_URL" in document["detail"]) == (code == "database_unavailable")


def test_only_ingest_claims_that_nothing_was_stored(admin, as_device, database_away):
    database_away()

    posted = as_device.post("/api/v1/ingest", {"temperature": 1}).json()
    asked = admin.get(DEVICES).json()

    assert posted["detail"].endswith("Nothing was stored; send it again.")
    assert "stored" not in asked["detail"]
