"""Splits the text of a CSV file into rows of cells, in constant memory, and goes on after a row that is not CSV."""

import csv
import re
import zlib
from collections import deque
from collections.abc import Iterator
from typing import IO, NamedTuple

from readings.ingest.csv_import.problems import InvalidFile, Problem
from readings.ingest.csv_import.source import undecodable_byte

LINE_CHARACTERS_MAX = 1 << 20
# Lines of one row, which has line breaks in quoted cells. More: a quote was not closed.
ROW_LINES_MAX = 100
SAMPLE_LINES = 100
# Fewer lines are looked at if they are long, because their cells are all in memory at a time.
SAMPLE_CHARACTERS = 1 << 20
OPEN_QUOTE = "A quote is opened here and not closed"
UNDECODED = re.compile("[\udc00-\udcff]")


class Record(NamedTuple):
    """The cells of a row that begins on this line."""

    line: int
    cells: list[str]


class BadLine(Exception):
    """The line cannot be part of a CSV file. The message says why."""


class Undecodable(BadLine):
    """The line has bytes that are not in the encoding of the file."""


class Lines:
    """The lines of a file for `csv.reader`. The lines of the current row can be given back, to be read again."""

    def __init__(self, text: IO[str], encoding: str) -> None:
        self.text, self.encoding = text, encoding
        self.number = 0  # of the last line given out
        self.row: list[str] = []  # lines given out for the current row
        self.waiting: deque[str] = deque()  # lines that were given back or looked at before

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.waiting.popleft() if self.waiting else self.read()
        if not line:
            raise StopIteration
        self.number += 1
        row = self.row
        row.append(line)
        if len(row) > ROW_LINES_MAX:
            raise BadLine(OPEN_QUOTE)
        if len(line) > LINE_CHARACTERS_MAX:
            raise BadLine(f"The line has more than {LINE_CHARACTERS_MAX:,} characters")
        if not line.isascii() and (found := UNDECODED.search(line)):
            raise Undecodable(f"The byte 0x{undecodable_byte(found[0]):02x} is not {self.encoding.upper()}")
        if "\0" in line:
            raise BadLine("The line has a NUL byte")
        return line

    def read(self) -> str:
        """The next line, or the first LINE_CHARACTERS_MAX + 1 characters of a longer one; empty at the end."""
        try:
            line = rest = self.text.readline(LINE_CHARACTERS_MAX + 1)
            while len(rest) > LINE_CHARACTERS_MAX and rest[-1] not in "\r\n":
                rest = self.text.readline(LINE_CHARACTERS_MAX + 1)
        except (OSError, EOFError, UnicodeError, zlib.error) as error:
            raise InvalidFile(f"The file cannot be read after line {self.number:,}: {error}.") from error
        return line

    def sample(self) -> list[str]:
        """The next SAMPLE_LINES lines, or until SAMPLE_CHARACTERS, without giving them out."""
        characters = 0
        while len(self.waiting) < SAMPLE_LINES and characters < SAMPLE_CHARACTERS and (line := self.read()):
            self.waiting.append(line)
            characters += len(line)
        return list(self.waiting)

    def give_back(self) -> None:
        """Gives back all lines of the current row except its first."""
        self.waiting.extendleft(reversed(self.row[1:]))
        self.number -= len(self.row) - 1


def read_records(lines: Lines, *, separator: str, skip_bad: bool) -> Iterator[Record | Problem]:
    """Yields each row that is not empty. Raises InvalidFile if the file cannot be read or, unless `skip_bad`, decoded.

    After a row that is not CSV, reading goes on with its second line, so that a quote that is not closed costs only
    the row that has it.
    """
    reader = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        lines.row.clear()
        line = lines.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except Undecodable as error:
            if not skip_bad:
                raise InvalidFile(
                    f"line {lines.number}: {error}. If the file is in another encoding, such as cp1252 (Windows), "
                    "name it; or skip such lines with --skip-bad.",
                    ["--encoding", "cp1252"],
                ) from error
            # In a row of several lines the quote is at fault; the bad line is read again and then reported itself.
            yield Problem(line, "", f"{error}." if len(lines.row) == 1 else f"This is not CSV: {OPEN_QUOTE}.")
            lines.give_back()
        except (csv.Error, BadLine) as error:
            yield Problem(line, "", f"This is not CSV: {reason(error)}.")
            lines.give_back()
        else:
            if cells and any(map(str.strip, cells)):
                yield Record(line, cells)


def reason(error: Exception) -> str:
    if "unexpected end of data" in str(error):
        return OPEN_QUOTE
    if "field larger than field limit" in str(error):
        return f"A cell has more than {csv.field_size_limit():,} characters"
    return str(error)
