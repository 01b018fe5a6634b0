import os
import shlex
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from devices.models import Device
from devices.plurals import counted
from devices.times import rfc3339
from readings.ingest.csv_import.arguments import add_file_options, given, parse_options
from readings.ingest.csv_import.options import Options
from readings.ingest.csv_import.problems import InvalidFile, Problem
from readings.ingest.csv_import.rows import Rows
from readings.ingest.csv_import.source import opened
from readings.ingest.csv_import.storing import Imported, store_rows
from readings.log.recording import OutcomeUnknown

PROBLEMS_SHOWN = 100
AGAIN = "run the same command again: rows that are stored already are recognised, and stored only once."


class Command(BaseCommand):
    help = (
        "Imports readings from a CSV file with the header device_id,timestamp,<metric>,…, or with other columns that "
        "options assign. If a file does not fit, the command proposes options. Times are RFC 3339, local times (--tz) "
        "or Unix times. Invalid rows are reported with their line number; all other rows are stored. The command can "
        "be repeated: a row is stored only once. Exported files, which also have the columns id and seq, are accepted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="the file, may be gzipped; - reads from standard input")
        parser.add_argument("--register", action="store_true", help="register devices that do not exist")
        parser.add_argument("--dry-run", action="store_true", help="check all rows, and store nothing")
        add_file_options(parser)

    def handle(self, *args: Any, file: str, register: bool, dry_run: bool, **arguments: Any) -> None:
        done = Imported()
        try:
            options = parse_options(arguments)
            self.check_device(options, register)
            self.bring(file, options, done, register=register, dry_run=dry_run)
        except BrokenPipeError as error:
            abandon_output()
            raise CommandError(f"The output was closed. {so_far(done)}") from error
        except InvalidFile as error:
            words = [f"{file}: {error}"]
            if error.proposed:
                command = ["manage.py", "import_readings", file, *given(arguments, register=register, dry_run=dry_run)]
                words.append(f"Try:\n  {shlex.join([*command, *error.proposed])}")
            words.append(so_far(done))
            raise CommandError("\n".join(words)) from error
        except (OSError, EOFError, zlib.error) as error:
            raise CommandError(f"{file} cannot be read: {error}. {so_far(done)}") from error
        except KeyboardInterrupt as error:
            raise CommandError(f"Stopped. So far: {done}. To continue, {AGAIN}") from error
        except (DatabaseError, InterfaceError, OutcomeUnknown) as error:
            # Without `so_far`, because it can be unknown whether the last rows were stored.
            raise CommandError(f"{str(error).strip()}. So far: {done}. To continue, {AGAIN}") from error
        if done.refused:
            raise CommandError(
                f"{counted(done.refused, 'row was', 'rows were')} refused. Correct the file, and {AGAIN}"
            )

    def check_device(self, options: Options, register: bool) -> None:
        if options.device and not register and not Device.objects.filter(device_id=options.device).exists():
            raise CommandError(f"There is no device {options.device!r}. Use --register to register it.")

    def bring(self, file: str, options: Options, done: Imported, *, register: bool, dry_run: bool) -> None:
        """Imports the file, counts its rows in `done`, and writes what there is to say."""
        shown = 0
        started = time.monotonic()
        with opened(file, options.encoding) as source, self.progress(source.size) as show:
            rows = Rows(source.text, now=timezone.now(), options=options, file=file, warn=self.stderr.write)
            for note in rows.notes():
                self.stderr.write(note)
            for problems in store_rows(rows, done, register=register, dry_run=dry_run):
                self.tell(problems[: max(0, PROBLEMS_SHOWN - shown)])
                shown += len(problems)
                show(done, source.position())
        if shown > PROBLEMS_SHOWN:
            self.stderr.write(f"… and {shown - PROBLEMS_SHOWN:,} more.")
        seconds = max(time.monotonic() - started, 0.001)
        words = [f"{'Dry run: ' if dry_run else ''}{done}, in {seconds:.1f} s ({done.rows / seconds:,.0f} rows/s)."]
        if done.earliest and done.latest:
            words.append(f"First time: {rfc3339(done.earliest)}. Last time: {rfc3339(done.latest)}.")
        self.stdout.write("\n".join(words + rows.times.summary()))
        # Here, because a closed pipe would otherwise be noticed only when the interpreter ends.
        self.stdout.flush()

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


def so_far(done: Imported) -> str:
    """What an import that failed has stored, and how to go on."""
    return f"So far: {done}. To continue, {AGAIN}" if done.rows else "Nothing was stored."


def abandon_output() -> None:
    """Sends further output nowhere, because Python flushes it at exit and would report the closed pipe again."""
    if sys.__stdout__ is not None and sys.stdout is sys.__stdout__:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
