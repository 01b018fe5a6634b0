import signal
import sys
import threading
from contextlib import suppress
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone
from django.utils.translation import ngettext
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from devices.database.distribution import require_distribution
from devices.plurals import counted
from readings.alarms.delivery.courier import deliver_once, keep_delivering
from readings.alarms.delivery.wakeup import wake
from readings.alarms.evaluation.evaluator import Evaluation, Evaluator
from readings.alarms.evaluation.loop import keep_evaluating
from readings.alarms.upkeep.retention import expire_alarms
from readings.upkeep.clock import read_uptime, trusted_time
from readings.upkeep.locks import Busy
from readings.upkeep.maintenance import INTERVAL_SECONDS, Round, keep_maintaining, maintain
from readings.upkeep.retention import expiries
from readings.upkeep.rollups import waiting
from readings.upkeep.rounds import last_round
from readings.windows import InvalidMoment, parse_moment

# How long the evaluation of alarms and the delivery of messages may take to end when the command stops.
STOP_SECONDS = 4.0


class Command(BaseCommand):
    help = (
        "Rolls readings up into statistics by hour and minute, seals (compresses) old readings, judges new readings by "
        "the alarm rules, sends messages about alarms, and deletes readings and alarms that are older than their "
        "retention. Runs until it is stopped; "
        "use --once for cron. The command `up` includes it."
    )

    # The tag of `telemetry.configuration.checks`. The checks of pages would import all of them.
    requires_system_checks = ["telemetry"]

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="run one round and exit; status 1 if another runs")
        parser.add_argument(
            "--interval",
            type=float,
            default=INTERVAL_SECONDS,
            help=f"seconds between two rounds (default {INTERVAL_SECONDS:g})",
        )
        parser.add_argument(
            "--seal-before",
            metavar="TIME",
            help="with --once: seal what was noted as received before this time: 2026-05-09T10:00:00Z, -1h or now",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="show what retention would delete, and change nothing"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["interval"] <= 0:
            raise CommandError("--interval must be above 0.")
        seal_before, now = options["seal_before"], timezone.now()
        if seal_before is not None:
            seal_before = time_of(seal_before, once=options["once"], now=now)
        stop = threading.Event()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: stop.set())
        try:
            require_distribution()
            if options["dry_run"]:
                self.foretell()
            elif options["once"]:
                self.once(stop, seal_before=seal_before, now=now)
            else:
                self.stdout.write(f"Maintaining every {options['interval']:g} s, until Ctrl-C.")
                self.loop(stop, options["interval"])
        except Busy as error:
            raise CommandError("Another process is maintaining this database.") from error
        except (DatabaseError, InterfaceError) as error:
            raise CommandError(f"The database failed: {str(error).strip()}") from error

    def foretell(self) -> None:
        total = 0
        clock = timezone.now()
        trusted = trusted_time(last_round(), now=clock, uptime=read_uptime())
        if trusted.held is not None:
            self.stdout.write(f"The clock has jumped: retention uses {trusted.limit(clock):%Y-%m-%d %H:%M} UTC.")
        for page in expiries(now=trusted.limit(clock)):
            for expiry in page:
                if count := expiry.count():
                    total += count
                    readings = counted(count, "reading", "readings")
                    self.stdout.write(
                        f"{expiry.device_id}: {readings} before {expiry.border:%Y-%m-%d %H:%M} UTC ({expiry.reason})"
                    )
        self.stdout.write(f"{counted(total, 'reading', 'readings')} would be deleted; hourly statistics stay.")
        if behind := waiting():
            are = counted(behind, "reading is", "readings are")
            kept = ngettext("is kept until it is", "are kept until they are", behind)
            self.stdout.write(f"{are} not in a rollup yet and {kept}.")

    def once(self, stop: threading.Event, *, seal_before: datetime | None, now: datetime) -> None:
        console = Console()
        if not console.is_terminal:
            self.conclude(maintain(now=now, stop=stop, seal_before=seal_before), evaluate_once(stop))
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            rolling = progress.add_task("Rolling up", total=waiting())
            sealing = progress.add_task("Sealing", total=None)
            deleting = progress.add_task("Deleting", total=None)
            done = maintain(
                now=now,
                stop=stop,
                seal_before=seal_before,
                sealed=lambda count: progress.advance(sealing, count),
                rolled_up=lambda count: progress.advance(rolling, count),
                deleted=lambda count: progress.advance(deleting, count),
            )
        self.conclude(done, evaluate_once(stop))

    def conclude(self, done: Round, evaluation: Evaluation) -> None:
        self.stdout.write(str(done))
        if evaluation != Evaluation():
            self.stdout.write(str(evaluation))
        if failed := done.failed + evaluation.failed:
            them = ngettext("it", "them", failed)
            raise CommandError(
                f"{counted(failed, 'device', 'devices')} failed (see the log). The next round tries {them} again."
            )

    def loop(self, stop: threading.Event, interval: float) -> None:
        connection.ensure_connection()  # an unreachable database is an error only at the start
        threads = [
            threading.Thread(target=keep_evaluating, args=[stop], name="alarms", daemon=True),
            threading.Thread(target=keep_delivering, args=[stop], name="delivery", daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            self.keep_maintaining(stop, interval)
        finally:
            stop.set()
            wake()
            for thread in threads:
                thread.join(STOP_SECONDS)

    def keep_maintaining(self, stop: threading.Event, interval: float) -> None:
        console = Console()
        if not console.is_terminal:
            keep_maintaining(stop, interval=interval, report=self.tell)
            return
        with console.status("Starting…") as status:
            total = Round()

            def show(done: Round) -> None:
                total.rolled_up += done.rolled_up
                total.deleted += done.deleted
                now = f"{timezone.now():%H:%M:%S} UTC"
                status.update(f"{now}: {done} Since start: {total.rolled_up:,} and {total.deleted:,}.")

            keep_maintaining(stop, interval=interval, report=show)

    def tell(self, done: Round) -> None:
        if done.rolled_up or done.sealed or done.deleted:
            self.stdout.write(str(done))
            sys.stdout.flush()


def time_of(text: str, *, once: bool, now: datetime) -> datetime:
    """The time of `--seal-before`. Raises CommandError."""
    if not once:
        raise CommandError("--seal-before needs --once.")
    if not settings.SEAL_AFTER_DAYS:
        raise CommandError("SEAL_AFTER_DAYS is 0, so nothing is sealed.")
    try:
        return parse_moment(text, now=now)
    except InvalidMoment as error:
        raise CommandError(f"--seal-before: {error}") from error


def evaluate_once(stop: threading.Event) -> Evaluation:
    """Judges new readings, deletes expired alarms and sends messages, unless another process does.

    Raises DatabaseError.
    """
    done = Evaluation()
    with suppress(Busy):
        done = Evaluator().evaluate(now=timezone.now(), stop=stop)
    expire_alarms(now=timezone.now(), stop=stop)
    with suppress(Busy):  # a process that delivers does so all the time
        deliver_once(stop=stop)
    return done
