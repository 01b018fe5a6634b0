"""`make bench-pages`: measures the fleet page with 1,000 devices that send 100 readings per second.

python -m benchmarks.pages            about a minute per stack; needs Chromium, PostgreSQL and Redis
"""

import argparse
import asyncio
import json
import os
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import httpx
import psycopg
from playwright.sync_api import Page, expect, sync_playwright
from rich.console import Console

from benchmarks.measuring import report
from benchmarks.pages.console import FLEET_KEY, chromium, console, sign_in
from benchmarks.pages.showcase import device_id

DEVICES = 1000
READINGS_PER_SECOND = 100
WATCHED_SECONDS = 20
LOADS = 7
# Readings are posted one by one, as devices do; at most this many requests run at the same time.
POSTERS = 10
POSTGRESQL = os.environ.get("BENCH_DATABASE_URL", "postgresql://postgres@127.0.0.1:5432/bench_pages")
REDIS = os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379/0")

terminal = Console()


class Figures(NamedTuple):
    """The figures of one stack, times in milliseconds. `longest` and `p99` are of tasks of the page's main thread.

    `most_used`: the CPU time of the task that used most; `longest` includes waiting for a CPU.
    """

    answer: float
    first_paint: float
    rows: float
    longest: float
    most_used: float
    p99: float
    busy: float
    received_per_second: float
    long_tasks: int


async def post(url: str, stop: threading.Event) -> None:
    """Posts READINGS_PER_SECOND single readings of random devices, evenly spaced, until `stop` is set."""
    async with httpx.AsyncClient(timeout=10, headers={"X-API-Key": FLEET_KEY}) as client:

        async def one() -> None:
            reading = {
                "device_id": device_id(random.randrange(DEVICES - 2)),
                "temperature": round(random.gauss(21, 3), 2),
                "humidity": round(random.gauss(45, 5), 1),
                "voltage": round(random.gauss(3.9, 0.1), 3),
            }
            (await client.post(f"{url}/api/v1/ingest", json=reading)).raise_for_status()

        due = time.monotonic()
        under_way: set[asyncio.Task[None]] = set()
        while not stop.is_set():
            under_way = {task for task in under_way if not task.done()}
            if len(under_way) < POSTERS:
                under_way.add(asyncio.create_task(one()))
            due = max(due + 1 / READINGS_PER_SECOND, time.monotonic() - 1)
            await asyncio.sleep(max(0, due - time.monotonic()))
        await asyncio.gather(*under_way)


@contextmanager
def load(url: str) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(post(url, stop)))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def paints(page: Page, url: str) -> tuple[float, float, float]:
    """The time in ms until the server's answer, until the first paint, and until the first rows are visible."""
    page.goto(f"{url}/live/")
    page.wait_for_selector("#rows .fleet-row")
    found = page.evaluate(
        """() => ({
            answer: performance.getEntriesByType("navigation")[0].responseEnd,
            paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN,
            rows: performance.now(),
        })"""
    )
    return found["answer"], found["paint"], found["rows"]


def main_thread_tasks(trace: bytes) -> list[tuple[float, float]]:
    """The main thread's tasks, (duration, CPU time) in ms; the busiest renderer process is taken as the page's."""
    events = json.loads(trace)["traceEvents"]
    mains = {
        (event["pid"], event["tid"])
        for event in events
        if event.get("name") == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    by_thread: dict[Any, list[tuple[float, float]]] = {}
    for event in events:
        if event.get("name", "").endswith("RunTask") and event.get("ph") == "X":
            thread = event["pid"], event["tid"]
            if thread in mains:
                by_thread.setdefault(thread, []).append((event["dur"] / 1000, event.get("tdur", 0) / 1000))
    return max(by_thread.values(), key=lambda tasks: sum(duration for duration, _ in tasks), default=[])


def measure(url: str) -> Figures:
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        context = browser.new_context(viewport={"width": 1280, "height": 860})
        sign_in(context, url)
        with load(url):
            times = []
            for _ in range(LOADS):
                page = context.new_page()
                times.append(paints(page, url))
                page.close()
            page = context.new_page()
            page.add_init_script(
                """window.longTasks = [];
                new PerformanceObserver((list) => window.longTasks.push(...list.getEntries().map((e) => e.duration)))
                    .observe({ entryTypes: ["longtask"] });"""
            )
            frames: list[int] = []
            page.on("websocket", lambda socket: socket.on("framereceived", lambda text: frames.append(count(text))))
            page.goto(f"{url}/live/")
            expect(page.locator("#connection")).to_have_text("live")
            page.wait_for_timeout(2000)
            page.evaluate("window.longTasks.length = 0")
            frames.clear()
            browser.start_tracing(page=page, categories=["toplevel", "disabled-by-default-devtools.timeline"])
            page.wait_for_timeout(WATCHED_SECONDS * 1000)
            traced = main_thread_tasks(browser.stop_tracing())
            received, long_tasks = sum(frames), page.evaluate("window.longTasks.length")
        browser.close()
    tasks = [duration for duration, _ in traced]
    answer, first_paint, rows = (median(column) for column in zip(*times, strict=True))
    return Figures(
        answer=answer,
        first_paint=first_paint,
        rows=rows,
        longest=max(tasks),
        most_used=max(used for _, used in traced),
        p99=quantiles(tasks, n=100)[98],
        busy=sum(tasks) / WATCHED_SECONDS / 10,
        received_per_second=received / WATCHED_SECONDS,
        long_tasks=long_tasks,
    )


def count(text: str | bytes) -> int:
    """The number of readings in a frame of the socket."""
    frame = json.loads(text)
    return len(frame["readings"]) if frame.get("type") == "readings" else 0


def text_of(results: dict[str, Figures]) -> str:
    lines = [
        "## Pages",
        "",
        f"`make bench-pages`: the fleet page with {DEVICES:,} devices, while {READINGS_PER_SECOND} readings per "
        "second are posted one by one; Chromium 1280 × 860, on the same machine as the server. "
        f"Medians of {LOADS} loads; the main thread is traced for {WATCHED_SECONDS} s after the page is live.",
        "",
        report.machine(),
        "",
        "| | goal | " + " | ".join(results) + " |",
        "| --- | ---: |" + " ---: |" * len(results),
    ]
    rows = [
        ("the server's answer, ms", "", "answer", ".0f"),
        ("first paint, ms", "under 1,000", "first_paint", ".0f"),
        ("first rows on the screen, ms", "", "rows", ".0f"),
        ("longest task of the main thread, ms", "under 50", "longest", ".1f"),
        ("most CPU time of a task, ms", "", "most_used", ".1f"),
        ("tasks of 50 ms or more", "0", "long_tasks", "d"),
        ("99 of 100 tasks take less than, ms", "", "p99", ".2f"),
        ("main thread busy, %", "", "busy", ".1f"),
        ("readings shown per second", "", "received_per_second", ".0f"),
    ]
    for label, asked, name, form in rows:
        cells = [format(getattr(figures, name), form) for figures in results.values()]
        lines.append(f"| {label} | {asked} | {' | '.join(cells)} |")
    return "\n".join(lines)


def postgresql(statement: str) -> None:
    server, _, name = POSTGRESQL.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as administrator:
        administrator.execute(statement.format(name=name))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages")
    parser.add_argument("--quick", action="store_true", help="measure on SQLite only and write no document")
    options = parser.parse_args()
    results = {}
    showcase = [f"--devices={DEVICES}"]
    with tempfile.TemporaryDirectory() as folder, console(Path(folder), showcase) as server:
        results["SQLite, channels in memory"] = measure(server.url)
        terminal.print(results)
    if not options.quick:
        postgresql("DROP DATABASE IF EXISTS {name}")
        postgresql("CREATE DATABASE {name}")
        urls = {"database_url": POSTGRESQL, "redis_url": REDIS}
        with tempfile.TemporaryDirectory() as folder, console(Path(folder), showcase, **urls) as server:
            results["PostgreSQL, channels on Redis"] = measure(server.url)
        postgresql("DROP DATABASE {name} WITH (FORCE)")
    text = text_of(results)
    terminal.print(text, markup=False)
    if not options.quick:
        report.write("pages", text)


if __name__ == "__main__":
    main()
