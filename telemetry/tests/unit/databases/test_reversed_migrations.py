"""Every migration can be reversed and applied again with data, and no answer changes."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from devices.models import AccessVersion, Device
from devices.tests.fixtures import ADMIN_KEY, client_with
from readings.alarms.models import Alarm
from readings.alarms.tests.rules import evaluate, make_rule
from readings.log.ids import uuid7
from readings.models import Rejection, RollupBlock
from readings.tests.logs import new, state_of, store
from readings.upkeep.maintenance import maintain
from realtime.models import Ticket

pytestmark = [pytest.mark.slow, pytest.mark.long]

OURS = ("devices", "readings", "alarms", "realtime", "telemetry")
DEVICES = ("fast", "slow", "trimmed", "empty")
# Yesterday, so that no device's status changes while a test runs.
NOW = timezone.now().replace(minute=30, second=0, microsecond=0) - timedelta(days=1)
# What a reverse deletes, as docs/migrations.md says: tickets live 30 s, refused posts are few and recent.
DELETES_TICKETS = {("devices", "0001"), ("realtime", "0001"), ("realtime", "0002")}
DELETES_REFUSED_POSTS = {("readings", name) for name in ("0001", "0002", "0003", "0004", "0005", "0006", "0007")} | {
    ("devices", "0001"),
    ("devices", "0002"),
}
REFUSE = {("devices", "0001"), ("readings", "0001")}


# Rows that a reverse deletes or that change by themselves. What was received is noted again by the next maintenance.
NOT_KEPT = (
    "django_migrations",
    "devices_accessversion",
    "realtime_ticket",
    "readings_rejection",
    "readings_receiptmark",
)

# A reverse takes along every migration that depends on the one named. So these few reverse all: the first of each app
# that is not refused, and those above the ones whose reverse deletes something.
FARTHEST = {("alarms", "0001"), ("devices", "0003"), ("readings", "0008"), ("realtime", "0003"), ("telemetry", "0001")}


def migrations():
    """(app, name, name of the one before in the app, or "zero") of the migrations to reverse."""
    graph = MigrationLoader(None).graph
    told = FARTHEST | DELETES_TICKETS | DELETES_REFUSED_POSTS & {("readings", "0002"), ("devices", "0002")} | REFUSE
    for app in OURS:
        names = [name for label, name in graph.forwards_plan(graph.leaf_nodes(app)[0]) if label == app]
        for before, name in zip(["zero", *names], names, strict=False):
            # The newest too, alone: it is what an operator goes back from.
            if (app, name[:4]) in told or name == names[-1]:
                yield app, name, before


MIGRATIONS = list(migrations())


@pytest.fixture
def installation(transactional_db, settings):
    """Devices with minute rollups, with readings that retention deleted or that are not rolled up, and with none.

    Nothing is sealed, as after `manage.py unseal`.
    """
    settings.SEAL_AFTER_DAYS = 0
    old = NOW - timedelta(days=40)
    for name in DEVICES:
        Device.objects.register(device_id=name, name=name.title())
    store(new("fast", NOW - timedelta(seconds=2 * n), temperature=20.25 + n / 8) for n in range(300))
    store(new("slow", NOW - timedelta(minutes=17 * n), humidity=40 + n / 4, extra={"co2": 400 + n}) for n in range(90))
    store(new("trimmed", old + timedelta(minutes=n), voltage=3 + n / 9, extra={"lux": n + 0.25}) for n in range(200))
    store(new("trimmed", NOW - timedelta(minutes=n), temperature=n / 11) for n in range(20))
    Device.objects.filter(device_id="trimmed").update(retention_days=30)
    Device.objects.filter(device_id="slow").update(retention_days=0)
    assert maintain(now=NOW).deleted == 200
    store([new("slow", NOW - timedelta(days=3), humidity=11.5), new("fast", NOW, temperature=-3.5)])  # not rolled up
    make_rule(metric="temperature", above=30, devices=("fast",))
    evaluate(NOW)
    store([new("fast", NOW + timedelta(seconds=1), temperature=31.5)])
    evaluate(NOW + timedelta(seconds=2))
    assert Alarm.objects.open().count() == 1
    store([new("fast", NOW + timedelta(seconds=3), temperature=32.5)])  # not judged
    Device.objects.get(device_id="slow").rotate_key(overlap=timedelta(hours=2), now=NOW)
    User.objects.create_user("colleague", is_staff=True).groups.add(Group.objects.get_or_create(name="Gardeners")[0])
    yield
    call_command("migrate", verbosity=0)


def answers():
    """What the API and the database say: every answer about every device, and every row of every table."""
    admin = client_with(ADMIN_KEY)
    window = {"start": (NOW - timedelta(days=60)).isoformat(), "end": (NOW + timedelta(days=1)).isoformat()}
    minutes = {"start": (NOW - timedelta(hours=1)).isoformat(), "end": window["end"], "bucket": "1m"}
    found = {"": admin.get("/api/v1/devices").json()}
    for name in DEVICES:
        device = f"/api/v1/devices/{name}"
        found[name] = [
            admin.get(device).json(),
            admin.get(f"{device}/latest").json().get("values"),
            admin.get(f"{device}/history", {**window, "limit": "1000"}).json(),
            *(
                admin.get(f"{device}/aggregate", given).json()
                for given in (window, {**window, "bucket": "1h"}, minutes)
            ),
        ]
    found["rows"] = rows()
    found["schema"] = schema()
    return found


def rows():
    """The rows of every table, except what documented changes leave out."""
    found = {}
    with connection.cursor() as cursor:
        for table in sorted(connection.introspection.table_names(cursor)):
            if table in NOT_KEPT:
                continue
            names = sorted(column.name for column in connection.introspection.get_table_description(cursor, table))
            cursor.execute(f"SELECT {', '.join(names)} FROM {table}")
            found[table] = sorted(map(str, cursor.fetchall()))
    return found


def schema():
    """Names and columns of tables, indexes, constraints and triggers."""
    found = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            found[table] = sorted(
                column.name for column in connection.introspection.get_table_description(cursor, table)
            )
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT 'index', indexname FROM pg_indexes WHERE schemaname = 'public' "
                "UNION SELECT 'constraint', conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace "
                "UNION SELECT 'trigger', tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2"
            )
        else:
            cursor.execute(
                "SELECT type, name, tbl_name FROM sqlite_master WHERE name NOT LIKE 'sqlite_stat%' ORDER BY 1, 2"
            )
        found["objects"] = cursor.fetchall()
    return found


def test_every_migration_reversed_and_applied_again_changes_no_answer(installation):
    known, version = answers(), AccessVersion.objects.current()

    for app, name, before in MIGRATIONS:
        number = (app, name[:4])
        client_with("tlm_zzzz" + "x" * 28).post("/api/v1/ingest", {"temperature": 1})
        Ticket.objects.issue(device=None, now=timezone.now())
        if number in REFUSE:
            with pytest.raises(CommandError, match="would delete every"):
                call_command("migrate", app, before, verbosity=0)
        else:
            call_command("migrate", app, before, verbosity=0)
        call_command("migrate", verbosity=0)

        assert answers() == known, (app, name)
        assert Rejection.objects.exists() is (number not in DELETES_REFUSED_POSTS), (app, name)
        assert Ticket.objects.exists() is (number not in DELETES_TICKETS), (app, name)

    assert AccessVersion.objects.current() > version
    assert maintain(now=NOW).rolled_up == 4
    after = answers()
    assert {name: after[name] for name in DEVICES} == {name: known[name] for name in DEVICES}


def append_as_an_earlier_version(device_id, timestamp, temperature):
    """A reading stored by the version before the latest values: they are not in its state rows."""
    seq = state_of_earlier(device_id)[0] + 1
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO readings_reading (id, device_id, seq, timestamp, temperature, extra) "
            "VALUES (%s, %s, %s, %s, %s, '{}')",
            [uuid7() if connection.vendor == "postgresql" else uuid7().hex, device_id, seq, timestamp, temperature],
        )
        cursor.execute(
            "UPDATE devices_devicestate SET last_seq = %s, latest_seq = %s, latest_at = %s WHERE device_id = %s",
            [seq, seq, timestamp, device_id],
        )


def state_of_earlier(device_id):
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_seq, latest_seq FROM devices_devicestate WHERE device_id = %s", [device_id])
        return cursor.fetchone()


def values_of(device_id):
    return client_with(ADMIN_KEY).get(f"/api/v1/devices/{device_id}/latest").json()["values"]


def test_latest_values_take_in_what_an_earlier_version_stored(installation):
    known = values_of("trimmed")

    call_command("migrate", "devices", "0002", verbosity=0)
    append_as_an_earlier_version("trimmed", NOW, -0.1)
    call_command("migrate", verbosity=0)

    found = values_of("trimmed")
    assert (found["temperature"]["value"], found["temperature"]["seq"]) == (-0.1, 221)
    # Retention deleted the readings of these; of an hour's average the kept value is better.
    assert {name: found[name] for name in ("voltage", "lux")} == {name: known[name] for name in ("voltage", "lux")}


def test_latest_values_of_what_an_earlier_version_erased_do_not_come_back(installation):
    call_command("migrate", "devices", "0002", verbosity=0)
    with connection.cursor() as cursor:
        for table in ("readings_reading", "readings_rollup"):
            cursor.execute(f"DELETE FROM {table} WHERE device_id = 'trimmed'")
        cursor.execute(
            "UPDATE devices_devicestate SET latest_seq = NULL, latest_at = NULL, raw_from = NULL "
            "WHERE device_id = 'trimmed'"
        )
    call_command("migrate", verbosity=0)

    assert state_of("trimmed").latest == "{}"
    with connection.cursor() as cursor:
        assert [name for name in connection.introspection.table_names(cursor) if "_kept" in name] == []


@pytest.mark.parametrize("rolled_up", [True, False])
def test_latest_values_are_filled_to_the_last_digit(transactional_db, rolled_up):
    values = [-19.248082507249936, 0.1 + 0.2, 1e300, 5e-324, 9007199254740993.0]
    for n, value in enumerate(values):
        Device.objects.register(device_id=f"mote-{n}")
        store([new(f"mote-{n}", NOW, temperature=value, extra={"x": value, "whole": 2**53 - n})], received_at=NOW)
    if rolled_up:
        maintain(now=NOW)
    known = [state_of(f"mote-{n}").latest_values() for n in range(len(values))]

    call_command("migrate", "devices", "0002", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE devices_devicestate_kept_0003")  # as at the first upgrade
    call_command("migrate", verbosity=0)

    assert [state_of(f"mote-{n}").latest_values() for n in range(len(values))] == known


def test_rollups_are_filled_again_where_their_table_was_dropped(installation):
    """An earlier release dropped the table when the migration was reversed, and left the positions."""
    known = answers()["fast"]

    call_command("migrate", "readings", "0002", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE readings_rollup_kept")
    call_command("migrate", verbosity=0)

    # By position: 200 of them were deleted by retention, and their statistics are lost with the table.
    assert maintain(now=NOW).rolled_up == 614
    assert answers()["fast"] == known


def test_sealed_statistics_are_turned_back_before_a_reverse(installation, settings):
    maintain(now=NOW)
    known = [answers()[name] for name in DEVICES]
    settings.SEAL_AFTER_DAYS = 2
    maintain(now=NOW)
    assert RollupBlock.objects.exists()
    with pytest.raises(CommandError, match="unseal --statistics"):
        call_command("migrate", "readings", "0013", verbosity=0)
    with pytest.raises(DatabaseError):  # the trigger is there as before
        RollupBlock.objects.update(data=b"")
    settings.SEAL_AFTER_DAYS = 0
    call_command("unseal", "--statistics", verbosity=0)
    call_command("migrate", "readings", "0013", verbosity=0)
    call_command("migrate", verbosity=0)
    assert [answers()[name] for name in DEVICES] == known


def test_a_previous_key_hint_is_kept_unless_the_key_was_rotated_meanwhile(transactional_db):
    for name in ("mote-1", "mote-2"):
        Device.objects.register(device_id=name)[0].rotate_key(overlap=timedelta(hours=2), now=NOW)
    hint = Device.objects.get(device_id="mote-1").previous_key_hint

    call_command("migrate", "devices", "0003", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE devices_device SET key_hint = 'tlm_next' WHERE device_id = 'mote-2'")
    call_command("migrate", verbosity=0)

    assert Device.objects.get(device_id="mote-1").previous_key_hint == hint != ""
    assert Device.objects.get(device_id="mote-2").previous_key_hint == ""


def test_devices_are_not_dropped_by_a_reverse_either(transactional_db):
    Device.objects.register(device_id="mote-1")
    with pytest.raises(CommandError, match="it would delete every device of this installation"):
        call_command("migrate", "devices", "zero", verbosity=0)
    call_command("migrate", verbosity=0)
    assert Device.objects.count() == 1


def test_an_empty_installation_can_be_reversed_to_nothing(transactional_db):
    AccessVersion.objects.all().delete()  # emptying the tables after the tests before this one counts as a change
    try:
        call_command("migrate", "devices", "zero", verbosity=0)
        with connection.cursor() as cursor:
            assert not [name for name in connection.introspection.table_names(cursor) if name.startswith(OURS[:3])]
    finally:
        call_command("migrate", verbosity=0)


def test_every_migration_is_described():
    text = (settings.BASE_DIR / "docs" / "migrations.md").read_text()
    assert [f"{app}.{name}" for app, name, _ in MIGRATIONS if f"| `{app}.{name}` |" not in text] == []
