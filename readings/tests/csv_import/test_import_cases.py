"""Files that are not as one expects: the import reads them with the right options, or says what is wrong, and where."""

import re
import shlex

import pytest

from readings.tests.imports import CASES, Outcome, stored

pytestmark = [pytest.mark.django_db, pytest.mark.once]

SEMICOLONS = ("--device", "shed", "--time", "Zeit", "--map", "Temperatur=temperature", "--map", "Feuchte=humidity")


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
    assert (
        outcome.said.splitlines()[1]
        == "First time: 2025-01-01T00:00:00.000000Z. Last time: 2025-01-01T00:00:00.000000Z."
    )
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
    assert said[1:] == ["First time: 2026-02-01T10:00:00.000000Z. Last time: 2026-02-03T10:00:00.500000Z."]
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
