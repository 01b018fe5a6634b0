"""The database backends: every wait has a deadline, and each kind of work has its own connections."""

import sqlite3
import threading
import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from django.db import DataError, OperationalError, connections
from django.db import connection as default_connection

from devices.database.work_kinds import POOL_SIZES, STATEMENT_SECONDS, Work, working_at
from devices.models import Device
from readings import querysets
from readings.log import reader
from readings.log.entries import NewReading
from readings.log.recording import PIPELINED_READINGS_MAX, OutcomeUnknown, store
from readings.models import Reading
from readings.querysets import arrays
from telemetry.tests.support.clients.lanes import through_the_lane
from telemetry.tests.support.servers.hanging_proxy import HangingProxy

pytestmark = pytest.mark.django_db(transaction=True)

connection: Any = default_connection
NOW = datetime(2026, 5, 9, 12, tzinfo=UTC)
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def reading(device_id="mote-1", **values):
    return NewReading(device_id=device_id, timestamp=NOW, **({"temperature": 20.0} | values))


if connection.vendor == "sqlite":
    from telemetry.databases.sqlite import base as sqlite

    @pytest.fixture
    def short_deadlines(monkeypatch):
        monkeypatch.setitem(STATEMENT_SECONDS, Work.QUESTION, 0.2)
        monkeypatch.setattr(sqlite, "LOOK_SECONDS", 0.02)

    class TestSQLite:
        def test_a_statement_is_interrupted_at_its_deadline(self, short_deadlines):
            began = time.monotonic()
            with pytest.raises(OperationalError, match=r"longer than 0\.2 s"), connection.cursor() as cursor:
                cursor.execute(ENDLESS)

            assert time.monotonic() - began < 5

        def test_rows_that_are_long_in_coming_are_interrupted_too(self, short_deadlines):
            with connection.cursor() as cursor:
                cursor.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n")
                with pytest.raises(OperationalError, match="interrupted"):
                    cursor.fetchall()

        def test_the_connection_serves_on(self, short_deadlines):
            with pytest.raises(OperationalError), connection.cursor() as cursor:
                cursor.execute(ENDLESS)

            assert Device.objects.count() == 0

        def test_ingest_waits_for_the_lock_no_longer_than_its_own_deadline(self, device):
            connection.close()
            holder = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
            holder.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            try:
                with working_at(Work.INGEST), pytest.raises(OperationalError, match="locked"):
                    store([reading()], received_at=NOW)
            finally:
                holder.close()
                connection.close()

            assert time.monotonic() - began < 5

        @pytest.mark.parametrize(
            ("pragma", "undo", "code"),
            [
                ("query_only = 1", "query_only = 0", "database_read_only"),
                ("max_page_count = 1", "max_page_count = 1073741823", "database_full"),
            ],
        )
        def test_what_ails_the_file_is_said(self, mote, anyone, as_device, pragma, undo, code):
            batch = [{"temperature": number} for number in range(5_000)]
            with connection.cursor() as cursor:
                cursor.execute("VACUUM")  # no free pages of earlier tests, which would have room for the batch
                cursor.execute(f"PRAGMA {pragma}")
            try:
                response = as_device.post("/api/v1/ingest/batch", batch)
                health = anyone.get("/health")
            finally:
                with connection.cursor() as cursor:  # the connection may have been replaced
                    cursor.execute(f"PRAGMA {undo}")

            assert (response.status_code, response.json()["code"]) == (503, code)
            assert response["Retry-After"]
            assert Reading.objects.count() == 0
            if code == "database_read_only":  # on a full disk one more row may fit
                assert (health.status_code, health.json()["checks"]["database"]) == (503, "read_only")

        def test_what_would_go_into_a_removed_file_is_refused(self, tmp_path):
            """Uses a separate database, because the suite's must stay."""
            file = tmp_path / "db.sqlite3"
            wrapper = sqlite.DatabaseWrapper(connection.settings_dict | {"NAME": file}, alias="removed")
            try:
                with wrapper.cursor() as cursor:
                    cursor.execute("CREATE TABLE t (a)")
                file.unlink()
                with pytest.raises(OperationalError, match="removed or replaced"):
                    wrapper.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
            finally:
                wrapper.close()


if connection.vendor == "postgresql":
    import psycopg

    from telemetry.databases.postgresql import connections as lives
    from telemetry.databases.postgresql import pools

    @pytest.fixture
    def proxy(monkeypatch):
        """Directs the default connection through the proxy, with short deadlines and separate pools."""
        monkeypatch.setattr(lives, "LOOK_SECONDS", 0.4)
        monkeypatch.setattr(pools, "CHECK_SECONDS", 0.3)
        before = {name: connection.settings_dict[name] for name in ("HOST", "PORT", "OPTIONS")}
        # Without TLS, because the proxy looks for statements.
        options = before["OPTIONS"] | {"sslmode": "disable"}
        connection.close()
        connection.close_pool()
        with HangingProxy(int(before["PORT"] or 5432)) as proxy:
            connection.settings_dict.update(HOST="127.0.0.1", PORT=proxy.port, OPTIONS=options)
            yield proxy
            connection.close()
            connection.close_pool()
            connection.settings_dict.update(before)

    def seconds_of(function, *args, **kwargs):
        began = time.monotonic()
        with pytest.raises(OperationalError):
            function(*args, **kwargs)
        return time.monotonic() - began

    class TestPostgreSQL:
        def test_each_kind_of_work_has_connections_of_its_own(self):
            def hold(work, held, released):
                with working_at(work):
                    connection.ensure_connection()
                    held.release()
                    released.wait(10)
                    connection.close()

            connection.close()
            held, released = threading.Semaphore(0), threading.Event()
            threads = [
                threading.Thread(target=hold, args=[Work.QUESTION, held, released])
                for _ in range(POOL_SIZES[Work.QUESTION])
            ]
            for thread in threads:
                thread.start()
            for _ in threads:
                held.acquire(timeout=10)
            try:
                with working_at(Work.INGEST):
                    assert Device.objects.count() == 0
                    connection.close()
            finally:
                released.set()
                for thread in threads:
                    thread.join()

        def test_the_server_ends_a_statement_at_its_deadline(self):
            with working_at(Work.INGEST):
                connection.close()
                with connection.cursor() as cursor:
                    cursor.execute("SHOW statement_timeout")
                    assert cursor.fetchone() == ("4s",)
                connection.close()

        def test_a_statement_whose_answer_never_comes_ends_long_before_its_deadline(self, proxy, device):
            list(Device.objects.all())
            proxy.hang()

            assert seconds_of(Device.objects.count) < 5

        def test_a_statement_that_takes_long_is_waited_for(self, proxy):
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(1.2)")

        def test_idle_connections_that_hang_are_found_out_and_replaced(self, proxy, device):
            held, released = threading.Barrier(5), threading.Event()

            def use():
                list(Device.objects.all())
                held.wait(10)
                connection.close()

            threads = [threading.Thread(target=use) for _ in range(5)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            connection.close()
            released.set()
            proxy.hang()

            began = time.monotonic()
            assert Device.objects.count() == 1
            assert time.monotonic() - began < 4

        def test_a_commit_without_an_answer_has_an_unknown_outcome(self, proxy, device):
            proxy.hangs_after = b"COMMIT"

            with pytest.raises(OutcomeUnknown):
                store([reading()], received_at=NOW)

            connection.close()
            assert Reading.objects.count() == 1

        @pytest.mark.one_database("rows have another statement")
        def test_a_statement_that_is_refused_beside_its_commit_has_stored_nothing(self, device, monkeypatch):
            """The server answers the INSERT with an error and skips the COMMIT, which was sent with it."""
            store([reading()], received_at=NOW)
            session = connection.connection.info.backend_pid
            with monkeypatch.context() as patch:
                patch.setattr(querysets, "arrays", lambda readings: ["{x}", *arrays(readings)[1:]])
                with pytest.raises(DataError):
                    store([reading()], received_at=NOW)

            (stored,) = store([reading()], received_at=NOW)[0]
            assert stored.reading is not None
            assert stored.reading.seq == 2
            assert Reading.objects.count() == 2
            assert connection.connection.info.backend_pid == session

        @pytest.mark.one_database("no statement is prepared")
        @pytest.mark.parametrize("pooler", [False, True])
        def test_the_statements_of_a_commit_stay_prepared_unless_a_pooler_is_between(self, device, pooler):
            def prepared():
                with connection.cursor() as cursor:
                    cursor.execute("SELECT count(*) FROM pg_prepared_statements")
                    return cursor.fetchone()[0]

            connection.ensure_connection()
            if pooler:
                connection.connection.prepare_threshold = None  # as Pool.prepare sets it without a session
            before = prepared()
            store([reading()], received_at=NOW)
            once = prepared()
            store([reading()], received_at=NOW)

            assert prepared() == once
            assert once - before == 0 if pooler else once >= 4
            connection.connection.close()
            connection.close()

        @pytest.mark.parametrize("step", ["check", "ids"])
        @pytest.mark.parametrize("count", [1, PIPELINED_READINGS_MAX + 1])
        def test_the_server_sees_that_a_transaction_is_idle_while_its_process_is_stopped(
            self, device, monkeypatch, step, count
        ):
            """So that its timeout for idle transactions releases the locks."""
            states = []

            def look(*_):
                session = connection.connection.info.backend_pid
                with psycopg.connect(url_of_database()) as other:
                    found = other.execute("SELECT state FROM pg_stat_activity WHERE pid = %s", [session]).fetchone()
                states.append(found and found[0])

            def by_ids(given):
                found = reader_by_ids(given)
                look()
                return found

            reader_by_ids = reader.by_ids
            if step == "ids":
                monkeypatch.setattr(reader, "by_ids", by_ids)
            with_ids = [reading(id=uuid4()) for _ in range(count)]
            store(with_ids, received_at=NOW, check=look if step == "check" else None)

            assert states == ["idle in transaction"]

        # In the middle of a COPY no timeout of the server applies while it waits for its client.
        @pytest.mark.parametrize(
            ("hangs_at", "count"),
            [(b"FOR NO KEY UPDATE", 1), (b"COPY readings_reading", PIPELINED_READINGS_MAX + 1)],
        )
        def test_what_hangs_before_the_commit_is_not_stored_and_its_locks_are_soon_released(
            self, proxy, device, hangs_at, count
        ):
            """The server does not learn that its client has given up, because its side of the connection stays open."""
            proxy.hangs_after = hangs_at

            with pytest.raises(OperationalError):
                store([reading()] * count, received_at=NOW)
            connection.close()

            (stored,) = store([reading()], received_at=NOW)[0]
            assert stored.reading is not None
            assert stored.reading.seq == 1

        def test_a_database_that_is_read_only_is_a_503_everywhere_and_health_says_so(self, mote, admin, anyone):
            """Like a failover to a standby."""
            name = connection.settings_dict["NAME"]
            with psycopg.connect(url_of_database(), autocommit=True) as administrator:
                administrator.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
                connection.close()
                connection.close_pool()
                try:
                    headers = {"X-API-Key": mote[1]}
                    responses = [
                        through_the_lane(lambda client: client.post("/ingest", json={"voltage": 1}, headers=headers)),
                        admin.post("/api/v1/devices", {"device_id": "mote-9"}),
                        admin.patch("/api/v1/devices/mote-1", {"name": "South"}),
                        admin.post("/api/v1/devices/mote-1/rotate-key", {}),
                        admin.post("/api/v1/realtime/tickets", {}),
                    ]
                    health, ready = anyone.get("/health"), anyone.get("/health/ready")
                    read = admin.get("/api/v1/devices/mote-1")
                finally:
                    administrator.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
                    connection.close()
                    connection.close_pool()

            assert {(response.status_code, response.json()["code"]) for response in responses} == {
                (503, "database_read_only")
            }
            assert all(response.headers["Retry-After"] for response in responses)
            assert {(answer.status_code, answer.json()["checks"]["database"]) for answer in (health, ready)} == {
                (503, "read_only")
            }
            assert read.status_code == 200

        def test_connections_can_be_cut_from_another_thread(self):
            connection.close()
            threading.Timer(0.3, pools.cut_connections).start()

            def sleep():
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_sleep(4)")

            assert seconds_of(sleep) < 3
            connection.close()

    def url_of_database():
        entry = connections["default"].settings_dict
        return f"postgresql://{entry['USER']}@{entry['HOST']}:{entry['PORT'] or 5432}/{entry['NAME']}"
