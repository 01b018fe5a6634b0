"""`make bench-queries`: measures queries on 1 and 20 million readings, and on the alternatives.

python -m benchmarks.queries            about an hour
python -m benchmarks.queries --quick    the smaller table only, for a first look; writes no document
python -m benchmarks.queries --sealed   the product alone, on the larger table as rows and sealed, half an hour
python -m benchmarks.queries --compare  the comparisons of devices only, two minutes; writes no document
"""

import argparse
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from benchmarks.contenders.served import drop_database
from benchmarks.measuring import report
from benchmarks.queries import upkeep
from benchmarks.queries.questions import (
    COMPARISONS,
    QUESTIONS,
    SAMPLES,
    Timing,
    comparisons,
    influxdb,
    influxql,
    plain_sql,
    product,
)
from benchmarks.queries.table import COMPARED, DATABASE, LARGE, SMALL, Scale, build, seal

PAGE_MS_MAX, ANSWER_MS_MAX = 20, 100  # p95

console = Console()


class Round(NamedTuple):
    """The measurements on one table."""

    scale: Scale
    figures: dict[str, float]
    product: dict[str, Timing]
    plain: dict[str, Timing]
    influx: dict[str, Timing]


def measure(scale: Scale, end: datetime) -> Round:
    console.print(f"[bold]{scale.name}[/]: filling {scale.readings:,} readings")
    figures = build(scale, end)
    console.print({name: round(value, 1) for name, value in figures.items()})
    asked = product(end)
    plain = plain_sql(end)
    for name, timing in asked.items():
        console.print(f"{name:32} p50 {timing.p50:6.1f}  p95 {timing.p95:6.1f} ms", plain.get(name))
    influx: dict[str, Timing] = {}
    if shutil.which("influxd"):
        with tempfile.TemporaryDirectory() as folder, influxdb(Path(folder)) as url:
            influx = influxql(url, end)
    return Round(scale, figures, asked, plain, influx)


class Upkeep(NamedTuple):
    exported: dict[str, float]
    imported: dict[str, float]
    kept: upkeep.Kept


def measure_upkeep(end: datetime) -> Upkeep:
    found = Upkeep(upkeep.export(end), upkeep.importing(end), upkeep.keeping_up())
    console.print(found)
    return found


def measure_sealed(scale: Scale, asked: dict[str, Timing], end: datetime) -> str:
    """The section of the document about the same table, sealed. `asked`: the times on rows."""
    seconds = seal()
    console.print(f"sealed in {seconds:.0f} s")
    lines = [
        "## Queries of sealed readings",
        "",
        f"`make bench-queries`, {datetime.now(UTC):%Y-%m-%d}: the same requests to the table of {scale.name} "
        f"before and after all readings and old rollups were sealed, which took {seconds:.0f} s. The limit of p95 is "
        f"{ANSWER_MS_MAX} ms for the statistics of a device, and {PAGE_MS_MAX} ms for a page of history.",
        "",
        report.machine(),
        "",
        "| | rows: p50, p95 | sealed: p50, p95 | p95 to p95 | limit |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for name, now in product(end).items():
        before = asked[name]
        verdict = "reached" if now.p95 < (PAGE_MS_MAX if "history" in name else ANSWER_MS_MAX) else "not reached"
        cells = [
            name,
            f"{before.p50:.1f}, {before.p95:.1f}",
            f"{now.p50:.1f}, **{now.p95:.1f}**",
            f"{now.p95 / before.p95:.2f}",
            "" if name in {comparison.name for comparison in COMPARISONS} else verdict,
        ]
        lines.append(f"| {' | '.join(cells)} |")
        console.print(lines[-1])
    return "\n".join(lines)


def document(small: Round, large: Round, done: Upkeep) -> str:
    same = {question.name for question in QUESTIONS if question.same} | {
        name for name in large.product if "history" in name
    }
    lines = [
        "## Queries",
        "",
        f"`make bench-queries`, {datetime.now(UTC):%Y-%m-%d}: milliseconds over HTTP, from `manage.py up` (daphne) on "
        f"PostgreSQL, {SAMPLES} requests each, one after the other; windows end at random times. Plain SQL is one "
        "statement over the raw readings (`date_bin`) through psycopg, without HTTP. Every answer has four metrics "
        'with count, sum, minimum and maximum. "Times as quick" compares with plain SQL, at 20 million readings.',
        "",
        report.machine(),
        "",
        *(table_of(measured) for measured in (small, large)),
        "",
        "| | 1 million: p50, p95 | 20 million: p50, p95 | p95 to p95 | plain SQL p50 | times as quick | InfluxDB p50 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, timing in large.product.items():
        before = small.product[name]
        growth = f"{timing.p95 / before.p95:.2f}" if name in same else "other data"
        plain = large.plain.get(name)
        influx = large.influx.get(name)
        cells = [
            name,
            f"{before.p50:.1f}, {before.p95:.1f}",
            f"{timing.p50:.1f}, **{timing.p95:.1f}**",
            growth,
            f"{plain.p50:,.0f}" if plain else "",
            ratio(plain.p50 / timing.p50) if plain else "",
            f"{influx.p50:,.0f}" if influx else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        '"Other data": the smaller table\'s log is shorter than the window, so the two cannot be compared.',
        "",
        *upkeep_lines(done),
    ]
    return "\n".join(lines)


def ratio(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def upkeep_lines(done: Upkeep) -> list[str]:
    exported, imported, kept = done
    return [
        f"- Export: {upkeep.ROWS:,} rows as CSV: first byte after {exported['first byte s'] * 1000:.0f} ms, all after "
        f"{exported['s']:.1f} s, and at most {exported['MB over idle']:.1f} MB of memory more than when idle.",
        f"- Import: {upkeep.ROWS:,} rows of CSV: {imported['rows/s']:,.0f} rows/s. Killed after "
        f"{imported['killed at']:,.0f} rows and started again: each row was stored exactly once.",
        f"- Maintenance during ingest at full speed (batches of {upkeep.BATCH:,} of one device each, 4 connections, "
        f"uvicorn, {upkeep.LOAD_SECONDS} s): {kept.beside:,.0f} readings/s with it, {kept.without:,.0f} without "
        f"({kept.beside / kept.without:.2f}). After the load, {kept.waiting:,.0f} readings were not rolled up yet; "
        f"{kept.behind_seconds:.1f} s later none.",
    ]


def table_of(measured: Round) -> str:
    figures = measured.figures
    logs = ", ".join(
        f"{log.devices} {log.name} (every {log.interval} s for {log.days} days)" for log in measured.scale.logs
    )
    readings, rollups = figures["readings_reading rows"], figures["readings_rollup rows"]
    return (
        f"- {measured.scale.name}: {readings:,.0f} readings, {figures['readings_reading MB']:,.0f} MB with keys; "
        f"devices: {logs}. Filled in {figures['fill']:.0f} s. Rolled up in {figures['maintain']:.0f} s "
        f"({figures['maintain'] / readings * 1e6:.1f} µs a reading) into {rollups:,.0f} rollups, "
        f"{figures['readings_rollup MB']:,.0f} MB."
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="measure the smaller table only and write no document")
    arguments.add_argument("--compare", action="store_true", help="measure only comparisons; write no document")
    arguments.add_argument("--sealed", action="store_true", help="measure the product alone, as rows and sealed")
    arguments.add_argument("--keep", action="store_true", help=f"keep the database {DATABASE}")
    options = arguments.parse_args()
    # The last whole hour: windows end in the past, so that the answers do not depend on the current time.
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    try:
        if options.compare:
            build(COMPARED, end)
            for name, timing in comparisons(end).items():
                console.print(f"{name:32} p50 {timing.p50:6.1f}  p95 {timing.p95:6.1f} ms")
            return
        if options.sealed:
            build(LARGE, end)
            report.write("sealed queries", measure_sealed(LARGE, product(end), end))
            return
        small = measure(SMALL, end)
        if options.quick:
            measure_sealed(SMALL, small.product, end)
            return
        large = measure(LARGE, end)
        report.write("queries", document(small, large, measure_upkeep(end)))
        report.write("sealed queries", measure_sealed(LARGE, large.product, end))
    finally:
        if not options.keep:
            drop_database(DATABASE)


if __name__ == "__main__":
    main()
