"""Opens a file, a pipe or standard input as text."""

import codecs
import gzip
import io
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from readings.ingest.csv_import.problems import InvalidFile

GZIP_MAGIC = b"\x1f\x8b"
# Bytes at the beginning of files that are no CSV, and what they are.
OTHER_FILES = {
    b"PK\x03\x04": "a spreadsheet (.xlsx, .ods) or a ZIP archive. Save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel file (.xls). Save the sheet as CSV",
    b"PAR1": "a Parquet file. Convert it to CSV",
    b"SQLite format 3": "an SQLite database. Export the table as CSV",
}
UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
MARKS_BYTES_FROM = 0xDC00
UNDECODABLE = "readings.csv_import.undecodable"


class Source(NamedTuple):
    """The text of a file; `position` returns how many bytes were read of the `size` (None: unknown)."""

    text: IO[str]
    position: Callable[[], int]
    size: int | None


@contextmanager
def opened(file: str, encoding: str) -> Iterator[Source]:
    """Opens a file, gzipped or not; `-` is standard input. Raises OSError or InvalidFile.

    Bytes that cannot be decoded become lone surrogates, U+DC00 plus the byte; see `undecodable_byte`.
    """
    with ExitStack() as stack:
        raw: IO[bytes] = sys.stdin.buffer if file == "-" else stack.enter_context(Path(file).open("rb"))
        status = None if file == "-" else Path(file).stat()
        size = status.st_size if status and stat.S_ISREG(status.st_mode) else None
        counted = Counted(raw)
        buffered = io.BufferedReader(counted)
        unpacked: Any = buffered
        if buffered.peek(2)[:2] == GZIP_MAGIC:
            unpacked = io.BufferedReader(gzip.GzipFile(fileobj=buffered))
        encoding = codec_of(encoding)
        check_first_bytes(unpacked.peek(16)[:16], encoding)
        text = io.TextIOWrapper(unpacked, encoding=encoding, errors=UNDECODABLE, newline="")
        yield Source(text, lambda: counted.bytes, size)


def codec_of(encoding: str) -> str:
    """The codec for a text in this encoding. Raises InvalidFile for a name that is no encoding of text."""
    try:
        "".encode(encoding)  # Refuses codecs such as hex, too.
        name = codecs.lookup(encoding).name
    except (LookupError, UnicodeError, ValueError) as error:
        raise InvalidFile(f"There is no encoding {encoding!r}. Examples are utf-8, cp1252, utf-16, latin-1.") from error
    return "utf-8-sig" if name == "utf-8" else name


def check_first_bytes(found: bytes, encoding: str) -> None:
    """Raises InvalidFile if the file begins like a file of another kind."""
    for magic, kind in OTHER_FILES.items():
        if found.startswith(magic):
            raise InvalidFile(f"This is not CSV, but {kind}.")
    if encoding == "utf-8-sig" and found.startswith(UTF_16_MARKS):
        raise InvalidFile(
            "line 1: The file is in UTF-16, not in UTF-8: it begins with the byte order mark of UTF-16.",
            ["--encoding", "utf-16"],
        )
    if encoding == "utf-8-sig" and b"\0" in found:
        raise InvalidFile(
            "line 1: The file has NUL bytes, so it is not CSV in UTF-8. If it is CSV in UTF-16, name its encoding.",
            ["--encoding", "utf-16-be" if found.startswith(b"\0") else "utf-16-le"],
        )


def mark_undecodable(error: UnicodeError) -> tuple[str, int]:
    """An error handler for decoders: each byte that cannot be decoded becomes a lone surrogate."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(MARKS_BYTES_FROM + byte) for byte in error.object[error.start : error.end]), error.end


def undecodable_byte(character: str) -> int:
    """The byte for which this lone surrogate stands."""
    return ord(character) - MARKS_BYTES_FROM


codecs.register_error(UNDECODABLE, mark_undecodable)


class Counted(io.RawIOBase):
    """A file that counts the bytes read from it, also if it is not seekable."""

    def __init__(self, raw: IO[bytes]) -> None:
        self.raw, self.bytes = raw, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self.raw.read(len(buffer))
        buffer[: len(found)] = found
        self.bytes += len(found)
        return len(found)
