"""Files that are not as one expects: the import reads them with the right options, or says what is wrong, and where."""

import gzip
import io
import os
import random
import re
import shlex
import sys
import tracemalloc
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command

from readings.models import Reading
from readings.tests.imports import CASES, Outcome

pytestmark = pytest.mark.django_db

SEMICOLONS = ("--device", "shed", "--time", "Zeit", "--map", "Temperatur=temperature", "--map", "Feuchte=humidity")


def stored() -> list[tuple[str, str, float | None, float | None]]:
    rows = Reading.objects.order_by("timestamp", "seq").values_list("device_id", "timestamp", "temperature", "humidity")
    return [(device, f"{time:%Y-%m-%dT%H:%M}", temperature, humidity) for device, time, temperature, humidity in rows]


@pytest.mark.parametrize("text", ["19580329", "2025", "45658.33", "45658", "20250101.5", "0", "202501011200"])
def test_digits_that_are_no_unix_time_are_refused_with_words(bring, text):
    outcome = bring(f"device_id,timestamp,co2\nmauna,2026-02-01T10:00:00Z,1\nmauna,{text},2\n", "--register")
    assert outcome.said.startswith("1 stored")
    assert len(outcome.problems) == 1
    assert outcome.problems[0].startswith(f"line 3: timestamp: {text} is not a time: digits alone are Unix seconds")


@pytest.mark.parametrize("text", ["2001010100000", "2025010110", "2033-05-18T00:00:00Z"])
def test_digits_that_would_be_a_time_in_the_future_are_refused(bring, text):
    outcome = bring(f"device_id,timestamp,co2\nmauna,{text},2\n", "--register")
    assert outcome.problems == [f"line 2: timestamp: {text} is in the future."]


def test_dates_of_digits_are_read_with_their_format(bring):
    assert len(Outcome(CASES / "dates-as-digits.csv", "--register").problems) == 3
    outcome = Outcome(CASES / "dates-as-digits.csv", "--register", "--time-format", "%Y%m%d")
    assert outcome.problems[1:] == [
        "line 2: timestamp: 19580329 is before 1970.",
        "line 3: timestamp: 19580405 is before 1970.",
    ]
    assert outcome.said.splitlines()[1] == "First time: 2025-01-01T00:00:00Z. Last time: 2025-01-01T00:00:00Z."
    assert (
        bring("device_id,timestamp,x\na,03/04/2026,1\n", "--register")
        .problems[0]
        .endswith("is not a time. Write RFC 3339 (2026-05-09T10:00:00Z). Or name its format: --time-format '%m/%d/%Y'.")
    )


def test_the_days_of_a_spreadsheet_are_refused():
    outcome = Outcome(CASES / "excel-days.csv", "--register")
    assert [line.split(" is ")[0] for line in outcome.problems] == [
        "line 2: timestamp: 45658.3333",
        "line 3: timestamp: 45658.375",
    ]
    assert stored() == []


def test_the_summary_names_the_first_and_the_last_time_of_what_was_stored(bring):
    rows = "a,2026-02-03T10:00:00.5Z,1\na,2026-02-01T10:00:00Z,2\na,2026-02-02T10:00:00Z,3\na,1958-01-01T00:00:00Z,4\n"
    said = bring("device_id,timestamp,x\n" + rows, "--register").said.splitlines()
    assert said[1:] == ["First time: 2026-02-01T10:00:00Z. Last time: 2026-02-03T10:00:00.500000Z."]
    assert len(bring("device_id,timestamp,x\n" + rows).said.splitlines()) == 1


def test_a_german_spreadsheet_is_read_as_documented():
    outcome = Outcome(CASES / "semicolons.csv", "--register", *SEMICOLONS, "--tz", "Europe/Berlin")
    assert not outcome.failure
    assert outcome.problems == [
        "The separator is 'semicolon' (--separator).",
        "Numbers have a decimal comma (--decimal).",
    ]
    assert stored() == [("shed", "2026-02-01T09:00", 21.5, 48.0), ("shed", "2026-02-01T09:05", 21.4, 48.5)]


@pytest.mark.parametrize("file", ["semicolons.csv", "index-column.csv", "utf16.csv", "cp1252.csv"])
def test_the_proposed_command_can_be_copied(file):
    """Follows the proposals until there is none."""
    arguments = ["--register"]
    for _ in range(3):
        outcome = Outcome(CASES / file, *arguments)
        if not (proposed := re.search(r"^  manage\.py import_readings (.*)$", outcome.failure, re.MULTILINE)):
            break
        _, *arguments = shlex.split(proposed[1])
    assert "stored" in outcome.said
    assert stored()


def test_an_index_column_without_a_name_is_ignored():
    outcome = Outcome(CASES / "index-column.csv", "--register", "--device", "hall", "--map", "time=timestamp")
    assert not outcome.failure
    assert outcome.problems == ["Ignored: column 1, which has no name."]
    assert stored() == [("hall", "2026-02-01T10:00", 21.5, None), ("hall", "2026-02-01T10:05", 21.4, None)]


def test_cells_that_mean_no_value_are_absent():
    outcome = Outcome(CASES / "absent-cells.csv", "--register")
    assert outcome.problems == ["line 4: The row has no metric value."]
    assert [row[2:] for row in stored()] == [(21.5, None), (None, 48.0), (21.2, None)]


@pytest.mark.parametrize("cell", ["NA", "n/a", "NaN", "null", "None", "unavailable", "Unknown", "-", "", " ", '""'])
def test_each_of_them_is(bring, cell):
    assert not bring(
        f"device_id,timestamp,temperature,humidity\na,2026-02-01T10:00:00Z,{cell},5\n", "--register"
    ).failure
    assert stored() == [("a", "2026-02-01T10:00", None, 5.0)]


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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--map", "Temp"), "write OLD=NEW"),
        (("--map", "Temp=Temp"), "'Temp' is not a metric name."),
        (("--map", "pressure=p"), "has no column 'pressure'"),
        (("--ignore", "pressure"), "has no column 'pressure'"),
        (("--time", "when"), "has no column 'when'"),
        (("--tz", "Berlin"), "there is no such zone"),
        (("--tz", "../etc/passwd"), "there is no such zone"),
        (("--device", "hall"), "There is no device 'hall'. Use --register"),
        (("--device", "the hall"), "a device_id must match"),
        (("--map", "humidity=temperature"), "has the column 'temperature' twice"),
        (("--register", "--device", "hall"), "--ignore device_id"),
    ],
)
def test_options_that_do_not_fit_are_told(bring, arguments, words):
    text = "device_id,timestamp,temperature,humidity\na,2026-02-01T10:00:00Z,1,2\n"
    assert words in bring(text, *arguments).failure
    assert stored() == []


def test_everything_that_does_not_fit_is_told_at_once_and_mended_by_the_proposal(bring):
    rows = "".join(f"{n},01.02.2026 10:0{n},21.{n},{40 + n},{n},dry\n" for n in range(5))
    text = "\n\n,Uhrzeit,Temp (°C),Luftfeuchte %,PM2.5,Wetter\n" + rows
    failure = bring(text, "--register").failure
    assert "The header (line 3) has no column 'timestamp'." in failure
    proposed = shlex.split(re.search(r"^  manage\.py import_readings (.*)$", failure, re.MULTILINE)[1])[1:]  # type: ignore[index]
    assert proposed == [
        *("--register", "--time", "Uhrzeit", "--device", "history", "--map", "Temp (°C)=temperature"),
        *("--map", "Luftfeuchte %=humidity", "--map", "PM2.5=pm2_5", "--ignore", "Wetter"),
    ]
    assert not bring(text, *proposed).failure
    assert stored()[4] == ("history", "2026-02-01T10:04", 21.4, 44.0)


@pytest.mark.parametrize(
    ("separator", "decimal"), [(",", "."), (";", ","), (";", "."), ("\t", ","), ("\t", "."), ("|", ","), ("|", ".")]
)
def test_separators_are_detected(bring, separator, decimal):
    lines = ["device_id,timestamp,temperature,humidity", "a,2026-02-01T10:00:00Z,1.5,2", "a,2026-02-01T10:01:00Z,,2.25"]
    text = "\r\n".join(lines).replace(",", separator).replace(".", decimal)
    assert not bring(text, "--register").failure
    assert [row[2:] for row in stored()] == [(1.5, 2.0), (None, 2.25)]


def test_they_can_be_named_where_the_beginning_does_not_tell(bring):
    header = "device_id;timestamp;temperature;humidity\n"
    row = "a;2026-02-01T10:00:00Z;1,234;2\n"
    assert "add --decimal , to the command" in bring(header + row, "--register").problems[-1]
    assert not bring(header + row, "--register", "--decimal", ",", "--separator", ";").failure
    assert stored()[0][2] == 1.234
    refused = bring(header + "a;2026-02-01T10:00:00Z;1.234,5;2\n", "--decimal", ",")
    assert "temperature: The value has a point" in refused.problems[-1]


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


def test_the_memory_does_not_grow_with_a_line(bring):
    text = b"device_id,timestamp,temperature\n" + b"a" * 30_000_000 + b"\na,2026-02-01T10:00:00Z,1\n"
    stream = SimpleNamespace(buffer=io.BytesIO(text))
    sys_stdin, sys.stdin = sys.stdin, stream  # type: ignore[assignment]
    tracemalloc.start()
    try:
        outcome = Outcome("-", "--register")
        assert tracemalloc.get_traced_memory()[1] < 12_000_000
    finally:
        tracemalloc.stop()
        sys.stdin = sys_stdin
    assert outcome.said.startswith("1 stored, 0 stored before, 1 refused")
