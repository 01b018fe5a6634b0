"""A node of a distributed database that is lost while it commits."""

import pytest
from django.db import InternalError, connection

from devices.database.errors import Trouble, is_undone, trouble_of
from readings.log.recording import OutcomeUnknown
from readings.models import Reading
from readings.tests.logs import new, store

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]

FAIL_AT_COMMIT = """
CREATE FUNCTION fail_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE internal_error USING message = '{message}';
END
$$;
CREATE CONSTRAINT TRIGGER fail_at_commit AFTER INSERT ON readings_reading
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail_at_commit()
"""


@pytest.fixture
def failing(device, request):
    with connection.cursor() as cursor:
        cursor.execute(FAIL_AT_COMMIT.format(message=request.param))
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION fail_at_commit CASCADE")


@pytest.mark.one_database("Citus has no such triggers")
@pytest.mark.parametrize(
    "failing", ["could not commit transaction for shard 102008 on at least one active node"], indirect=True
)
def test_it_is_unknown_whether_the_readings_are_stored(failing):
    """Citus tells a single node to commit before it commits itself."""
    with pytest.raises(OutcomeUnknown) as raised:
        store([new()])
    assert trouble_of(raised.value.__cause__) is Trouble.FAILED  # type: ignore[arg-type]


@pytest.mark.one_database("Citus has no such triggers")
@pytest.mark.parametrize("failing", ["out of patience"], indirect=True)
def test_after_any_other_error_nothing_is_stored(failing):
    with pytest.raises(InternalError) as raised:
        store([new()])
    assert is_undone(raised.value)
    assert Reading.objects.count() == 0
