"""Writes the section on the live stream in docs/benchmarks.md."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import NamedTuple

from benchmarks.measuring import report


class Step(NamedTuple):
    """The figures for one rate of readings, posted to one device that `sockets` sockets watch."""

    sockets: int
    rate: float
    per_second: float
    lost: int
    out_of_order: int
    p50_ms: float
    p99_ms: float


class Slow(NamedTuple):
    stopped: int
    lost: int
    p50_ms: float
    p99_ms: float


class Ingest(NamedTuple):
    redis: str
    per_second: float
    p99_ms: float


@dataclass
class Results:
    """Results by the name of the contender."""

    steps: dict[str, list[Step]] = field(default_factory=lambda: defaultdict(list))
    memory_kb: dict[tuple[str, int], float] = field(default_factory=dict)
    slow: dict[str, list[Slow]] = field(default_factory=lambda: defaultdict(list))
    ingest: dict[str, list[Ingest]] = field(default_factory=lambda: defaultdict(list))
    browser_ms: dict[str, list[float]] = field(default_factory=dict)


def kept_up(steps: list[Step], sockets: int) -> float:
    """The highest rate without loss and with a p99 of at most one second; 0 if there is none."""
    return max((s.rate for s in steps if s.sockets == sockets and not s.lost and s.p99_ms <= 1000), default=0.0)


def requirements(results: Results) -> list[report.Requirement]:
    found = []
    for server, limit in (("uvicorn", 150), ("daphne", 300)):
        steps = results.steps.get(f"product on {server}", [])
        step = next((s for s in steps if (s.sockets, s.rate) == (500, 40)), None)
        text = f"500 sockets at 40 readings/s on {server}: nothing lost, p99 under {limit} ms"
        if step is None:
            found.append(report.Requirement(text, "not measured", None))
        else:
            figure = f"{step.lost} lost, p99 {step.p99_ms:.0f} ms"
            found.append(report.Requirement(text, figure, not step.lost and step.p99_ms < limit))
        ours = kept_up(steps, 500)
        stock = kept_up(results.steps.get(f"stock way on {server}", []), 500)
        text = f"500 sockets on {server}: at least 5 times the stock way's lossless rate"
        figure = f"{ours:.0f} to {stock:.0f} readings/s" + (f", {ours / stock:.1f} times" if stock else "")
        found.append(report.Requirement(text, figure, ours >= 5 * stock if ours else None))
    for name, runs in results.slow.items():
        without, beside = (median([r.p99_ms for r in runs if bool(r.stopped) is some]) for some in (False, True))
        text = f"{name}: beside 50 clients that stopped reading, the others' p99 within 20 %"
        found.append(report.Requirement(text, f"{beside / without - 1:+.0%}", beside <= 1.2 * without))
    for name, figures in results.ingest.items():
        running = middle(figures, "running")
        for state in ("stopped", "hanging"):
            share = middle(figures, state) / running
            text = f"{name}: single readings per second with Redis {state}, of those with it running"
            found.append(report.Requirement(text, f"{share:.2f}", share >= 0.95))
    return found


def middle(figures: list[Ingest], state: str) -> float:
    return median([figure.per_second for figure in figures if figure.redis == state])


def section(results: Results, *, seconds: float) -> str:
    lines = [
        "## Live",
        "",
        f"`make bench-live`, {datetime.now(UTC):%Y-%m-%d}: all sockets watch one device. Each reading has a POST of "
        "its own and contains the time of that POST, so latency is measured from the POST to the client. Each step "
        f"takes {seconds:.0f} s; the rate is doubled until readings are lost or p99 exceeds a second. Server, "
        "PostgreSQL, Redis and the load generator share the machine. The stock way follows the documentation of "
        "Channels exactly (AsyncJsonWebsocketConsumer, `send_json`, core Redis layer) and stores nothing. The product "
        "stores every reading first.",
        "",
        report.machine(),
        "",
        "| goal | measured | |",
        "| --- | ---: | --- |",
    ]
    words = {True: "reached", False: "not reached", None: ""}
    lines += [f"| {text} | {figure} | {words[reached]} |" for text, figure, reached in requirements(results)]
    lines += ["", *fan_out(results)]
    if results.slow:
        lines += [
            "### Clients that stop reading",
            "",
            "100 sockets, 40 readings of 1 KB per second, alternating runs of 12 s.",
            "",
        ]
        lines += ["| | stopped | lost by the others | p50 ms | p99 ms |", "| --- | ---: | ---: | ---: | ---: |"]
        for name, runs in results.slow.items():
            lines += [f"| {name} | {r.stopped} | {r.lost} | {r.p50_ms:.1f} | {r.p99_ms:.1f} |" for r in runs]
        lines.append("")
    if results.ingest:
        lines += [
            "### Ingest without Redis",
            "",
            "Single readings posted by wrk, 32 connections, medians of 3 alternating runs of 4 s.",
            "",
        ]
        lines += ["| | Redis | readings/s | p99 ms |", "| --- | --- | ---: | ---: |"]
        for name, figures in results.ingest.items():
            for state in ("running", "stopped", "hanging"):
                p99 = median([figure.p99_ms for figure in figures if figure.redis == state])
                lines.append(f"| {name} | {state} | {middle(figures, state):,.0f} | {p99:.0f} |")
        lines.append("")
    if results.browser_ms:
        lines += ["### From the POST to the page", "", "Chromium with `live.js`, 200 readings, one every 100 ms.", ""]
        lines += ["| | p50 ms | p99 ms |", "| --- | ---: | ---: |"]
        for name, values in results.browser_ms.items():
            lines.append(f"| {name} | {median(values):.1f} | {values[int(len(values) * 0.99)]:.1f} |")
    return "\n".join(lines).rstrip()


def fan_out(results: Results) -> list[str]:
    if not results.steps:
        return []
    lines = [
        "| | sockets | readings/s | deliveries/s | lost | p50 ms | p99 ms | memory a socket, KB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, steps in results.steps.items():
        for s in steps:
            figures = [f"{s.rate:.0f}", f"{s.per_second:,.0f}", f"{s.lost:,}", f"{s.p50_ms:.0f}", f"{s.p99_ms:.0f}"]
            memory = f"{results.memory_kb.get((name, s.sockets), 0):.0f}"
            lines.append(f"| {name} | {s.sockets} | {' | '.join(figures)} | {memory} |")
    return [*lines, ""]


def write(text: str) -> None:
    report.write("live", text)
