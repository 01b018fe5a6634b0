"""Writes measurements to `docs/benchmarks.md`, one section for each benchmark."""

import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import NamedTuple, Protocol

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
LABELS = {
    "single, 32": "Single readings, 32 connections",
    "single, 256": "Single readings, 256 connections",
    "batch": "Batches of 1,000 of one device each, 4 connections",
    "gateway": "Batches of 1,000 of a gateway, over 1,000 devices, 4 connections",
}


class Measured(NamedTuple):
    """The figures of one round; None if the contender does not have such a figure."""

    readings_per_second: float
    p50_ms: float | None
    p99_ms: float | None
    memory_mb: float | None


# By contender and workload: one entry for each round.
Results = dict[str, dict[str, list[Measured]]]


class Contender(Protocol):
    """The attributes of a contender that the report shows; see `benchmarks.contenders.served.Contender`."""

    name: str
    durability: str


def middle(rounds: Sequence[Measured], figure: str) -> float | None:
    """The median of a figure over the rounds; None if no round has it."""
    values = [value for measured in rounds if (value := getattr(measured, figure)) is not None]
    return median(values) if values else None


def rate(results: Results, contender: str, workload: str) -> float:
    """The median of readings per second; 0 if not measured."""
    return middle(results.get(contender, {}).get(workload, []), "readings_per_second") or 0.0


class Requirement(NamedTuple):
    text: str
    figure: str
    reached: bool | None  # None: not measured


def at_least(results: Results, text: str, one: tuple[str, str], other: tuple[str, str], factor: float) -> Requirement:
    """The requirement that `one` (contender, workload) has at least `factor` times the rate of `other`."""
    if not (divisor := rate(results, *other)) or not rate(results, *one):
        return Requirement(text, "not measured", None)
    ratio = rate(results, *one) / divisor
    return Requirement(text, f"{ratio:.2f}", ratio >= factor)


def requirements(results: Results) -> list[Requirement]:
    daphne, uvicorn, fastapi = "product on daphne", "product on uvicorn", "FastAPI on uvicorn"
    few, many = "single, 32", "single, 256"
    goals = [
        ("single readings on daphne, 32 connections, the obvious Django", daphne, "obvious Django on daphne", few, 5),
        (
            "single readings on daphne, 32 connections, daphne with an application that does nothing",
            daphne,
            "nothing on daphne",
            few,
            0.5,
        ),
        ("single readings on uvicorn, 32 connections, FastAPI", uvicorn, fastapi, few, 6),
        ("single readings on uvicorn, 256 connections, FastAPI", uvicorn, fastapi, many, 10),
        (
            "single readings on SQLite, 32 connections, the obvious Django",
            f"{daphne}, SQLite",
            "obvious Django on daphne, SQLite",
            few,
            3,
        ),
    ]
    for server in (daphne, uvicorn):
        for workload, what, factor in (("batch", "one device each", 0.9), ("gateway", "a gateway", 0.75)):
            goals.append(
                (
                    f"batches of {what}, {server}, raw COPY by one connection",
                    server,
                    "raw COPY, 1 connection",
                    workload,
                    factor,
                )
            )
            goals.append((f"batches of {what}, {server}, InfluxDB", server, "InfluxDB 1.6", workload, 1))
    found = [
        at_least(results, f"{text}: at least {factor:g} times", (one, workload), (other, workload), factor)
        for text, one, other, workload, factor in goals
    ]
    for server in (daphne, uvicorn):
        p99 = middle(results.get(server, {}).get(few, []), "p99_ms")
        text = f"p99 of single readings with 32 connections under 100 ms, {server}"
        found.append(
            Requirement(text, "not measured", None) if p99 is None else Requirement(text, f"{p99:.0f} ms", p99 < 100)
        )
    return found


def table(results: Results, workload: str) -> list[str]:
    base = rate(results, "product on uvicorn", workload)
    lines = [
        f"### {LABELS[workload]}",
        "",
        "| | readings/s | of the product on uvicorn | p50 ms | p99 ms | peak memory MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for contender, by_workload in results.items():
        if not (rounds := by_workload.get(workload)):
            continue
        ratio = f"{rate(results, contender, workload) / base:.2f}" if base else ""
        figures = [middle(rounds, name) for name in ("p50_ms", "p99_ms", "memory_mb")]
        cells = [contender, f"{rate(results, contender, workload):,.0f}", ratio]
        cells += ["" if figure is None else f"{figure:.0f}" for figure in figures]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def ingest(results: Results, contenders: Sequence[Contender], *, rounds: int, seconds: int) -> str:
    lines = [
        "## Ingest",
        "",
        f"`make bench-ingest`, {datetime.now(UTC):%Y-%m-%d}: medians of {rounds} interleaved rounds of {seconds} s "
        "each; wrk generates the load on the same machine, with 1,000 devices that have a key each. A reading has four "
        "metrics. Every answer was a 2xx, and after each round the product's logs were checked to be dense and "
        "complete. The machines are noisy, so compare the ratios.",
        "",
        machine(),
        "",
        "| goal | measured | |",
        "| --- | ---: | --- |",
    ]
    words = {True: "reached", False: "not reached", None: ""}
    lines += [f"| {text} | {figure} | {words[reached]} |" for text, figure, reached in requirements(results)]
    lines.append("")
    for workload in LABELS:
        lines += table(results, workload)
    lines += ["Settings:", ""]
    lines += [f"- {contender.name}: {contender.durability}." for contender in contenders]
    lines.append(
        "- raw COPY: rows prepared in advance, into the product's own table with all keys, one commit a batch."
    )
    return "\n".join(lines)


def machine() -> str:
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    cores = len(re.findall(r"^processor", Path("/proc/cpuinfo").read_text(), re.MULTILINE))
    postgresql = subprocess.run(["psql", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    packages = ", ".join(f"{name} {version(name)}" for name in ("Django", "daphne", "uvicorn", "psycopg", "msgspec"))
    return (
        f"{cores} cores ({processor[1] if processor else platform.machine()}), shared by server, database and load; "
        f"Python {platform.python_version()}, {postgresql}, {packages}."
    )


def write(name: str, text: str) -> None:
    """Replaces a section of the document, or appends it if it is new."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    section = f"{begin}\n{text}\n{end}"
    document = DOCUMENT.read_text() if DOCUMENT.exists() else "# Benchmarks\n"
    if begin in document:
        before, _, rest = document.partition(begin)
        document = before + section + rest.partition(end)[2]
    else:
        document = f"{document.rstrip()}\n\n{section}\n"
    DOCUMENT.write_text(document)
