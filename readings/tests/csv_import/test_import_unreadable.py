"""Files that are not CSV, or not to their end: words, the line, and every good row stored; never a traceback."""

import gzip
import io
import os
import random
import sys
import time
import tracemalloc
import zlib
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from readings.ingest.csv_import.options import Options
from readings.ingest.csv_import.problems import InvalidFile
from readings.ingest.csv_import.rows import Rows
from readings.ingest.csv_import.source import opened
from readings.tests.imports import CASES, Outcome, stored
from readings.tests.logs import NOON

pytestmark = [pytest.mark.django_db, pytest.mark.once]


def test_bytes_of_another_encoding_end_the_import_with_line_and_encoding(bring):
    outcome = Outcome(CASES / "cp1252.csv", "--register")
    assert "line 2: The byte 0xfc is not UTF-8." in outcome.failure
    assert "--encoding cp1252" in outcome.failure
    assert "Nothing was stored." in outcome.failure
    assert stored() == []
    skipped = Outcome(CASES / "cp1252.csv", "--register", "--skip-bad")
    assert skipped.problems == ["line 2: The byte 0xfc is not UTF-8."]
    assert skipped.failure.startswith("1 row was refused.")
    assert [row[0] for row in stored()] == ["hall"]


def test_what_stands_before_an_undecodable_line_is_stored_and_recognised_later(bring):
    good = "".join(f"a,2026-02-01T10:00:{n:02}Z,{n},x\n" for n in range(20))
    text = f"device_id,timestamp,temperature,note\n{good}a,2026-02-01T11:00:00Z,1,kühl\n"
    outcome = bring(text.encode("cp1252"), "--register", "--ignore", "note")
    assert "line 22: The byte 0xfc is not UTF-8." in outcome.failure
    assert "So far: 20 stored" in outcome.failure
    assert bring(text.encode("cp1252"), "--ignore", "note", "--encoding", "cp1252").said.startswith(
        "1 stored, 20 stored before, 0 refused"
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "cp1252", "latin-1", "utf-8-sig", "utf-32"])
def test_any_encoding_is_read_when_it_is_named(bring, encoding):
    text = "device_id,timestamp,Wärme\r\na,2026-02-01T10:00:00Z,21.5\r\n"
    outcome = bring(text.encode(encoding), "--register", "--map", "Wärme=temperature", "--encoding", encoding)
    assert not outcome.failure
    assert stored() == [("a", "2026-02-01T10:00", 21.5, None)]


@pytest.mark.parametrize(
    ("encoding", "named"), [("utf-16", "utf-16"), ("utf-16-le", "utf-16-le"), ("utf-16-be", "utf-16-be")]
)
def test_utf_16_is_recognised(bring, encoding, named):
    outcome = bring("device_id,timestamp,temperature\na,2026-02-01T10:00:00Z,21.5\n".encode(encoding))
    assert "line 1: " in outcome.failure
    assert f"--encoding {named}\n" in outcome.failure


@pytest.mark.parametrize("name", ["hex", "rot13", "nothing", "utf-9", "a b", "\0", "idna"])
def test_a_name_that_is_no_encoding_is_an_error(bring, name):
    outcome = bring("device_id,timestamp,temperature\na,2026-02-01T10:00:00Z,21.5\n", "--encoding", name)
    assert outcome.failure


@pytest.mark.parametrize("time_format", ["%Y%Y", "%d.%m.%Y %H:%M %d", "%Z %Z"])
def test_a_format_that_names_a_part_twice_is_an_error(bring, time_format):
    text = "device_id,timestamp,temperature\na,2026-02-01T10:00:00Z,21.5\n"
    outcome = bring(text, "--register", "--time-format", time_format)
    assert f"--time-format '{time_format}': a part of the time is named twice." in outcome.failure


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("open-quote.csv", "line 1: This is not CSV: A quote is opened here and not closed."),
        ("not-a-csv.json", "This is JSON, not CSV."),
    ],
)
def test_what_is_no_csv_is_told_in_words(file, words):
    assert words in Outcome(CASES / file, "--register").failure


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"device_id": "hall"}', "This is JSON, not CSV."),
        (b"PK\x03\x04" + b"\0" * 200, "a spreadsheet (.xlsx, .ods) or a ZIP archive"),
        (b"SQLite format 3\0" + b"\0" * 84, "an SQLite database"),
        (b"\n\r\n  \n", "The file is empty."),
        (b"device_id,timestamp," + b"x" * 131_073 + b"\n", "line 1: This is not CSV: A cell has more than 131,072"),
        (b"x" * 3_000_000, "line 1: This is not CSV: The line has more than 1,048,576 characters."),
        (b"device_id,timestamp,t\0\n", "line 1: This is not CSV: The line has a NUL byte."),
        (b"device_id,timestamp,W\xe4rme\na,2026-02-01T10:00:00Z,1\n", "line 1: The byte 0xe4 is not UTF-8."),
        (b"a,2026-02-01T10:00:00Z,1\na,2026-02-01T10:00:01Z,2\n", "It looks like a row of values."),
        (b"device_id,timestamp,id,t\na,2026-02-01T10:00:00Z,7,1\n", "--ignore id"),
        (b"device_id,timestamp," + b"9" * 5000 + b"\n", "'9999999999999999999999999999999999999999…' is not a metric"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\x03rubbish", "cannot be read"),
    ],
)
def test_no_file_ends_in_a_traceback(bring, text, words):
    outcome = bring(text, "--register", "--skip-bad")
    assert words in outcome.failure
    assert "Nothing was stored." in outcome.failure
    assert stored() == []


def test_neither_does_a_folder(tmp_path):
    assert "cannot be read" in Outcome(tmp_path).failure


def test_a_gzipped_file_that_ends_early_is_stored_as_far_as_it_goes(bring):
    numbers = random.Random(1)
    rows = "".join(f"a,2026-02-01T10:{n // 60:02}:{n % 60:02}Z,{numbers.random()}\n" for n in range(3000))
    whole = gzip.compress(("device_id,timestamp,temperature\n" + rows).encode())
    outcome = bring(whole[: len(whole) // 2], "--register")
    assert "cannot be read after line" in outcome.failure
    first = len(stored())
    assert first > 500
    assert f"So far: {first:,} stored" in outcome.failure
    assert bring(whole).said.startswith(f"{3000 - first:,} stored, {first:,} stored before")


def test_a_pipe_is_read_as_a_file_is(tmp_path):
    """The size of a pipe is unknown, and it cannot be read twice."""
    reader, writer = os.pipe()
    os.write(writer, b"device_id,timestamp,temperature\na,2026-02-01T10:00:00Z,1\n")
    os.close(writer)
    assert Outcome(f"/dev/fd/{reader}", "--register").said.startswith("1 stored")
    os.close(reader)


def test_a_closed_output_is_no_traceback(bring, monkeypatch, tmp_path):
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    file = tmp_path / "history.csv"
    file.write_text("device_id,timestamp,temperature\na,2026-02-01T10:00:00Z,1\n")
    with pytest.raises(CommandError, match="The output was closed"):
        call_command("import_readings", str(file), "--register", stdout=Closed(), stderr=io.StringIO())
    assert len(stored()) == 1


def test_a_quote_that_is_not_closed_costs_one_row(bring):
    rows = [f"a,2026-02-01T10:{n // 60:02}:{n % 60:02}Z,{n}\n" for n in range(300)]
    rows[40] = rows[40].replace(",40\n", ',"40\n')
    rows[41] = rows[41].replace(",41\n", ',"41\n')
    outcome = bring("device_id,timestamp,temperature\n" + "".join(rows), "--register")
    assert [line.split(":")[0] for line in outcome.problems] == ["line 42", "line 43"]
    assert len(stored()) == 298


def test_a_cell_may_have_line_breaks_and_lines_are_counted_right(bring):
    text = 'device_id,timestamp,temperature,note\na,2026-02-01T10:00:00Z,1,"two\nlines"\na,never,2,\n'
    assert bring(text, "--register", "--ignore", "note").problems[0].startswith("line 4: timestamp: 'never'")
    assert len(stored()) == 1


def test_the_memory_does_not_grow_with_a_line(monkeypatch):
    text = b"device_id,timestamp,temperature\n" + b"a" * 30_000_000 + b"\na,2026-02-01T10:00:00Z,1\n"
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text)))
    tracemalloc.start()
    try:
        outcome = Outcome("-", "--register")
        assert tracemalloc.get_traced_memory()[1] < 12_000_000
    finally:
        tracemalloc.stop()
    assert outcome.said.startswith("1 stored, 0 stored before, 1 refused")


def test_nor_with_lines_of_many_cells(bring):
    """The first lines are looked at together, with each separator."""
    text = "device_id,timestamp,temperature\n" + ("ab;" * 300_000 + "\n") * 50 + "a,2026-02-01T10:00:00Z,1\n"
    tracemalloc.start()
    try:
        outcome = bring(gzip.compress(text.encode(), 1), "--register")
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()
    assert outcome.said.startswith("1 stored, 0 stored before, 50 refused")


def test_a_header_of_too_many_columns_is_refused(bring):
    outcome = bring("ts;" * 200_000 + "\n1;\n", "--device", "hall", "--register")
    assert "The header (line 1) has 200,001 columns; at most 5,000 are possible." in outcome.failure


def test_a_long_text_in_place_of_a_time_is_refused_at_once(bring):
    times = ["2026-02-01" + " " * 20_000 + "x", "2026-02-01 " * 2000, "20" * 20_000]
    text = "device_id,timestamp,temperature\n" + "".join(f"a,{text},1\n" for text in times)
    began = time.process_time()
    outcome = bring(text + "a,2026-02-01T10:00:00Z,1\n", "--register")
    assert time.process_time() - began < 1.5
    assert outcome.said.startswith("1 stored, 0 stored before, 3 refused")


PIECES = st.sampled_from(
    [
        *("device_id", "timestamp", "temperature", "hall", "2026-02-01T10:00:00Z", "2026-02-01", "21,5", "1.5", "NA"),
        *(",", ";", "\t", "|", '"', '""', "\n", "\r\n", "\r", "\n\n", "\0", "ü", "\ufeff", "[", "{", "=", "9" * 50),
    ]
)
CONTENTS = st.binary(max_size=200) | st.lists(PIECES, max_size=40).map("".join).flatmap(
    lambda text: st.sampled_from(["utf-8", "cp1252", "utf-16", "utf-16-le", "utf-8-sig"]).map(
        lambda encoding: text.encode(encoding, "ignore")
    )
)


@pytest.mark.once
@given(
    content=CONTENTS | CONTENTS.map(b"device_id,timestamp,temperature\n".__add__),
    encoding=st.sampled_from(["utf-8", "cp1252", "utf-16"]),
    zone=st.sampled_from([None, ZoneInfo("Europe/Berlin")]),
    device=st.sampled_from(["", "hall"]),
    skip_bad=st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_file_has_it_is_read_or_refused_with_words(tmp_path, content, encoding, zone, device, skip_bad):
    file = tmp_path / "any.csv"
    file.write_bytes(content)
    options = Options(device=device, encoding=encoding, zone=zone, skip_bad=skip_bad)
    try:
        with opened(str(file), encoding) as source:
            for row in Rows(source.text, now=NOON, options=options):
                assert 1 < row.line <= len(content)
    except InvalidFile:
        pass
    except (OSError, EOFError, zlib.error):
        assert content.startswith(b"\x1f\x8b")
