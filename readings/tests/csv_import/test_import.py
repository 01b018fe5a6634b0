"""`manage.py import_readings`: importing readings from CSV files."""

import csv
import gzip
import io
import sys
from datetime import timedelta
from typing import Any

import hypothesis
import pytest
from django.core.management import call_command
from django.db import OperationalError
from django.utils import timezone
from hypothesis import example, given
from hypothesis import strategies as st

from devices.models import Device
from readings.ingest.csv_import import storing
from readings.ingest.csv_import.problems import Problem
from readings.ingest.csv_import.rows import Row, Rows
from readings.log.recording import record
from readings.models import Reading
from readings.querysets import ReadingManager
from readings.tests.imports import Outcome, export
from readings.tests.logs import NOON, at, new, state_of, store

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]


def documents() -> list[tuple[Any, ...]]:
    fields = ("device_id", "seq", "timestamp", "temperature", "humidity", "voltage", "extra")
    return list(Reading.objects.order_by("device_id", "seq").values_list(*fields))


def test_it_stores_the_rows_at_their_own_times(device, other_device, bring):
    outcome = bring(
        "device_id,timestamp,temperature,rssi\r\n"
        "mote-1,2026-05-09T12:00:00Z,21.5,-67\r\n"
        "mote-2,2026-05-09T14:00:01.5+02:00,,-70\r\n"
        "mote-1,1778328002,20,\r\n"
    )
    assert not outcome.failure
    assert outcome.said.startswith("3 stored, 0 stored before, 0 refused, in ")
    assert documents() == [
        ("mote-1", 1, NOON, 21.5, None, None, {"rssi": -67}),
        ("mote-1", 2, at(2), 20.0, None, None, {}),
        ("mote-2", 1, at(1.5), None, None, None, {"rssi": -70}),
    ]


def test_it_is_no_sign_of_life_of_the_device(device, bring):
    bring("device_id,timestamp,temperature\nmote-1,2026-05-09T12:00:00Z,1\n")
    assert state_of().last_seen_at is None
    assert state_of().latest_at == NOON
    store([new(timestamp=at(60))], received_at=at(60))
    bring("device_id,timestamp,temperature\nmote-1,2026-05-09T12:00:05Z,1\n")
    assert state_of().last_seen_at == at(60)
    assert state_of().last_seq == 3


def test_again_it_doubles_nothing(device, bring, monkeypatch):
    monkeypatch.setattr(storing, "BATCH_READINGS", 7)
    text = "device_id,timestamp,temperature,pm\n" + "".join(f"mote-1,{1778328000 + n},{n},{n}\n" for n in range(50))
    assert bring(text).said.startswith("50 stored")
    before = documents()
    assert bring(text).said.startswith("0 stored, 50 stored before")
    assert bring(text.replace(",49,49", ",49,48")).said.startswith("1 stored, 49 stored before")
    assert documents()[:50] == before


def test_stopped_half_way_it_goes_on_when_started_again(device, bring, monkeypatch):
    monkeypatch.setattr(storing, "BATCH_READINGS", 10)
    text = "device_id,timestamp,temperature\n" + "".join(f"mote-1,{1778328000 + n},{n}\n" for n in range(95))
    calls: list[int] = []

    def failing(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 5:
            raise OperationalError("the database went away")
        return record(*args, **options)

    monkeypatch.setattr(storing, "record", failing)
    outcome = bring(text)
    assert outcome.failure.startswith("the database went away. So far: 40 stored")
    assert "stored only once" in outcome.failure
    assert bring(text).said.startswith("55 stored, 40 stored before")
    assert [row[3] for row in documents()] == [float(n) for n in range(95)]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("mote-1,yesterday,1,2", "timestamp: 'yesterday' is not a time"),
        ("mote-1,-24h,1,2", "timestamp: '-24h' is not a time"),
        ("mote-1,,1,2", "timestamp: '' is not a time"),
        ("mote-1,9999-01-01T00:00:00Z,1,2", "timestamp: 9999-01-01T00:00:00Z is in the future."),
        ("mote-1,1969-12-31T00:00:00Z,1,2", "timestamp: 1969-12-31T00:00:00Z is before 1970."),
        ("mote-1,2026-05-09T12:00:00Z,warm,2", "temperature: The value is text, not a number."),
        ("mote-1,2026-05-09T12:00:00Z,inf,2", "temperature: The value is text, not a number."),
        ("mote-1,2026-05-09T12:00:00Z,nan,NA", "The row has no metric value."),
        ("mote-1,2026-05-09T12:00:00Z,1,2\0", "This is not CSV: The line has a NUL byte."),
        (f"mote-1,2026-05-09T12:00:00Z,{'1' * 5000},2", "temperature: The value is beyond ±1e+300."),
        (f"mote-1,2026-05-09T12:00:00Z,1,{'9' * 131073}", "This is not CSV: A cell has more than 131,072 characters."),
        (f"mote-1,2026-05-09T12:00:00Z,1,{'9' * 3_000_000}", "This is not CSV: The line has more than 1,048,576 char"),
        ('mote-1,2026-05-09T12:00:00Z,"1,2', "This is not CSV: A quote is opened here and not closed."),
        ("mote-1,2026-05-09T12:00:00Z,1,1e301", "pm: The value is beyond ±1e+300."),
        ("mote-1,2026-05-09T12:00:00Z,,", "The row has no metric value."),
        ("mote-1,2026-05-09T12:00:00Z,1", "The row has 3 columns, but the header has 4."),
        ("mote 1,2026-05-09T12:00:00Z,1,2", "device_id: A device_id must match"),
        ("nobody,2026-05-09T12:00:00Z,1,2", "device_id: There is no device 'nobody'. Use --register to register it."),
        ('mote-1,2026-05-09T12:00:00Z,"1"x,2', "This is not CSV"),
    ],
)
def test_what_is_wrong_is_told_by_its_line_and_the_rest_goes_in(device, bring, row, problem):
    good = "mote-1,2026-05-09T12:00:0{}Z,1,2\n"
    outcome = bring(f"device_id,timestamp,temperature,pm\n{good.format(0)}{row}\n{good.format(1)}")
    assert outcome.failure == (
        "1 row was refused. Correct the file, and run the same command again: rows that are stored already are "
        "recognised, and stored only once."
    )
    assert len(outcome.problems) == 1
    assert outcome.problems[0].startswith(f"line 3: {problem}")
    assert [row[2] for row in documents()] == [at(0), at(1)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "The file is empty"),
        ("time,device_id,temperature\n", "has no column 'timestamp'"),
        ("device_id timestamp temperature\n", "has no column 'timestamp'"),
        ("device_id,timestamp,Temperature\n", "'Temperature' is not a metric name"),
        ("device_id,timestamp,pm,pm\n", "has the column 'pm' twice"),
        ("device_id,timestamp\n", "has no metric"),
        (b"device_id,timestamp,pm\nmote-1,\xff\xfe,1\n", "line 2: The byte 0xff is not UTF-8"),
        (b"\x1f\x8bnot gzip", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(device, bring, text, said):
    outcome = bring(text)
    assert said in outcome.failure
    assert documents() == []


def test_no_file_is_an_error_not_a_traceback(tmp_path):
    assert "cannot be read" in Outcome(tmp_path / "nothing.csv").failure


def test_many_problems_are_counted_and_the_first_are_shown(device, bring):
    outcome = bring("device_id,timestamp,pm\n" + "mote-1,never,1\n" * 250)
    assert len(outcome.problems) == 101
    assert outcome.problems[-1] == "… and 150 more."
    assert outcome.failure.startswith("250 rows were refused.")


def test_devices_are_made_where_one_asks_for_it(bring):
    text = "device_id,timestamp,pm\nnew-1,2026-05-09T12:00:00Z,1\nnew-2,2026-05-09T12:00:00Z,1\n"
    assert len(bring(text).problems) == 2
    assert not Device.objects.exists()
    assert not bring(text, "--register", "--dry-run").failure
    assert not Device.objects.exists()
    assert bring(text, "--register").said.startswith("2 stored")
    assert set(Device.objects.values_list("device_id", flat=True)) == {"new-1", "new-2"}


NEW_DEVICES = "device_id,timestamp,pm\nnew-1,2026-05-09T12:00:00Z,1\nnew-2,2026-05-09T12:00:00Z,1\n"


def test_no_device_is_made_without_its_readings(bring, monkeypatch):
    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("the database went away")

    with monkeypatch.context() as patched:
        patched.setattr(ReadingManager, "insert", fail)
        assert "the database went away" in bring(NEW_DEVICES, "--register").failure
    assert not Device.objects.exists()
    assert bring(NEW_DEVICES, "--register").said.startswith("2 stored")


def test_a_device_that_somebody_else_makes_meanwhile_is_taken_as_it_is(bring, monkeypatch):
    def late(readings: Any, **given: Any) -> Any:
        monkeypatch.setattr(storing, "record", record)
        Device.objects.register(device_id="new-2", name="Theirs")
        return record(readings, **given)

    monkeypatch.setattr(storing, "record", late)
    assert bring(NEW_DEVICES, "--register").said.startswith("2 stored")
    assert dict(Device.objects.values_list("device_id", "name")) == {"new-1": "", "new-2": "Theirs"}


def test_a_dry_run_checks_and_stores_nothing(device, bring):
    outcome = bring("device_id,timestamp,pm\nmote-1,2026-05-09T12:00:00Z,1\nmote-1,never,1\n", "--dry-run")
    assert outcome.said.startswith("Dry run: 1 stored, 0 stored before, 1 refused")
    assert documents() == []


def test_it_reads_gzip_and_standard_input_and_a_byte_order_mark(device, bring, monkeypatch):
    text = "\ufeffdevice_id,timestamp,pm\nmote-1,2026-05-09T12:00:00Z,1\n"
    assert not bring(gzip.compress(text.encode())).failure

    class Standard:
        buffer = io.BytesIO(text.replace(",1\n", ",2\n").encode())

    monkeypatch.setattr(sys, "stdin", Standard)
    assert not Outcome("-").failure
    assert [row[6] for row in documents()] == [{"pm": 1}, {"pm": 2}]


def test_what_was_exported_comes_back_as_it_was(device, bring):
    store(
        [
            new(timestamp=at(n / 3), temperature=n / 7, voltage=None, extra={"rssi": -n, "pm": n * 0.1, "big": 1e300})
            for n in range(30)
        ]
    )
    before = documents()
    ids = list(Reading.objects.order_by("seq").values_list("id", flat=True))

    text = export("mote-1")
    assert bring(text).said.startswith("0 stored, 30 stored before")
    call_command("erase_device", "mote-1", "--yes", "--with-device", stdout=io.StringIO())
    assert bring(text, "--register").said.startswith("30 stored")
    assert documents() == before
    assert list(Reading.objects.order_by("seq").values_list("id", flat=True)) == ids


def test_the_present_is_not_the_future(device, bring):
    now = timezone.now() - timedelta(seconds=1)
    assert not bring(f"device_id,timestamp,pm\nmote-1,{now.isoformat()},1\n").failure


CELLS = st.one_of(
    st.text(max_size=30),
    st.integers().map(str),
    st.datetimes().map(str),
    st.builds("{}{}{}".format, st.sampled_from(["", "+", "-"]), st.sampled_from("019١"), st.just("")),
    st.sampled_from(
        ["mote-1", "2026-05-09T12:00:00Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "9" * 5000]
    ),
)


@given(rows=st.lists(st.lists(CELLS, min_size=5, max_size=5), max_size=5))
@example(rows=[["mote-1", "2026-05-09T12:00:00Z", "1", "0" * 5000, ""]])
@example(rows=[["mote-1", "0001-01-01T00:00:00+23:59Z", "1", "1", ""]])
@hypothesis.settings(derandomize=True, database=None, deadline=None)
def test_whatever_a_row_has_it_is_a_reading_or_a_problem(rows):
    file = io.StringIO()
    good = ["mote-1", "2026-05-09T12:00:00Z", "1", "1", ""]
    csv.writer(file).writerows([["device_id", "timestamp", "temperature", "rssi", "id"], good, *rows])
    file.seek(0)
    for row in Rows(file, now=NOON):
        assert isinstance(row, Row | Problem)
