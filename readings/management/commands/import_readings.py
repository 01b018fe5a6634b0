import gzip
import io
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from readings.ingest.csv_import import Imported, InvalidFile, Problem, read_rows, store_rows
from readings.log.recording import OutcomeUnknown

PROBLEMS_SHOWN = 100
GZIP_MAGIC = b"\x1f\x8b"


class Command(BaseCommand):
    help = (
        "Imports readings from a CSV file with the header device_id,timestamp,<metric>,… Exported files, which also "
        "have the columns id and seq, are accepted. Timestamps are RFC 3339 or Unix seconds. Invalid rows are reported "
        "with their line number; all other rows are stored. The command can be repeated: a row is stored only once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="the file, may be gzipped; - reads from standard input")
        parser.add_argument("--register", action="store_true", help="register devices that do not exist")
        parser.add_argument("--dry-run", action="store_true", help="check all rows, and store nothing")

    def handle(self, *args: Any, file: str, **options: Any) -> None:
        done, shown = Imported(), 0
        started = time.monotonic()
        try:
            with opened(file) as (lines, position, size), self.progress(size) as show:
                rows = read_rows(lines, now=timezone.now())
                for done, problems in store_rows(rows, register=options["register"], dry_run=options["dry_run"]):
                    self.tell(problems[: max(0, PROBLEMS_SHOWN - shown)])
                    shown += len(problems)
                    show(done, position())
        except InvalidFile as error:
            raise CommandError(f"{file}: {error}") from error
        except (OSError, EOFError, UnicodeError) as error:
            raise CommandError(f"{file} cannot be read: {error}. So far: {done}.") from error
        except KeyboardInterrupt as error:
            raise CommandError(
                f"Stopped. So far: {done}. Run the command again to continue; no row is stored twice."
            ) from error
        except (DatabaseError, InterfaceError, OutcomeUnknown) as error:
            again = "Run the command again to continue; no row is stored twice."
            raise CommandError(f"{str(error).strip()}. So far: {done}. {again}") from error
        if shown > PROBLEMS_SHOWN:
            self.stderr.write(f"… and {shown - PROBLEMS_SHOWN:,} more.")
        seconds = max(time.monotonic() - started, 0.001)
        rows_done = done.stored + done.duplicates + done.refused
        words = f"{'Dry run: ' if options['dry_run'] else ''}{done}"
        self.stdout.write(f"{words}, in {seconds:.1f} s ({rows_done / seconds:,.0f} rows/s).")
        if done.refused:
            raise CommandError(f"{done.refused:,} rows were refused.")

    def tell(self, problems: list[Problem]) -> None:
        for problem in problems:
            self.stderr.write(str(problem))

    @contextmanager
    def progress(self, size: int | None) -> Iterator[Callable[[Imported, int], None]]:
        """Shows a progress bar on a terminal, based on the bytes of the file."""
        console = Console(stderr=True)
        if not console.is_terminal:
            yield lambda done, position: None
            return
        columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("", total=size)
            yield lambda done, position: bar.update(task, completed=position, description=str(done))


@contextmanager
def opened(file: str) -> Iterator[tuple[IO[str], Callable[[], int], int | None]]:
    """Yields the lines, a function for the number of bytes read, and the file size in bytes (None: unknown)."""
    with ExitStack() as stack:
        if file == "-":
            raw: IO[bytes] = sys.stdin.buffer
            size = None
        else:
            raw = stack.enter_context(Path(file).open("rb"))
            size = Path(file).stat().st_size
        counted = Counted(raw)
        buffered = io.BufferedReader(counted)
        packed = buffered.peek(2)[:2] == GZIP_MAGIC
        unpacked: Any = gzip.GzipFile(fileobj=buffered) if packed else buffered
        yield io.TextIOWrapper(unpacked, encoding="utf-8-sig", newline=""), lambda: counted.bytes, size


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
