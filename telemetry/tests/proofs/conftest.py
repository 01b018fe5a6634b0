"""Collects the results of the proofs in a table; a complete run that passes writes it to docs/reliability.md."""

import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from django.conf import settings

from telemetry.tests.support.clients.fleet import Verdict

DOCUMENT = Path(settings.BASE_DIR) / "docs" / "reliability.md"
# Variables that shorten a run for a first look; such a run is not a proof.
SHORTENED_BY = (
    *("SOAK_MINUTES", "HANG_TIMES", "ABANDONED_REQUESTS", "GREEDY_SECONDS", "WIDE_SECONDS", "ACTIVE_MINUTES"),
    *("ALARM_KILLS", "AWAY_SECONDS", "INFLUX_KILLS", "MQTT_KILLS", "SEALING_KILLS"),
)
BEGIN, END = "<!-- proofs -->", "<!-- end of proofs -->"


class Row(NamedTuple):
    """`recovered`: the longest time in seconds from the end of a fault to the next acknowledged reading."""

    what: str
    times: int
    verdict: Verdict | None
    recovered: float | None
    seen: str

    def __str__(self) -> str:
        found = self.verdict
        figures = (
            [f"{found.acknowledged:,}", str(found.lost), str(found.doubled + found.strange)] if found else [""] * 3
        )
        recovered = "" if self.recovered is None else f"{self.recovered:.1f} s"
        return f"| {' | '.join([self.what, str(self.times), *figures, recovered, self.seen])} |"


Record = Callable[..., None]
rows: list[Row] = []


@pytest.fixture
def record() -> Record:
    """Adds a row to the table, and asserts that nothing was lost, stored twice or invented."""

    def add(
        what: str,
        *,
        times: int = 1,
        verdict: Verdict | None = None,
        recovered: float | None = None,
        seen: str = "",
    ) -> None:
        rows.append(Row(what, times, verdict, recovered, seen))
        print(rows[-1])  # noqa: T201
        if verdict:
            assert verdict[1:] == (0, 0, 0), verdict

    return add


def table() -> str:
    lines = [
        f"`make prove`, {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores, Python {platform.python_version()}, "
        "PostgreSQL and Redis of the proofs' own, the server on daphne where a row does not say otherwise; load and "
        "server on the same machine.",
        "",
        "| what was done | times | readings acknowledged | lost | doubled | recovered within | seen |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
        *map(str, rows),
    ]
    return "\n".join(lines)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    if not rows:
        return
    terminalreporter.write_line(f"\n{table()}\n")
    whole = not config.option.keyword and not any(name in os.environ for name in SHORTENED_BY)
    if exitstatus == 0 and whole:
        before, _, rest = DOCUMENT.read_text().partition(BEGIN)
        DOCUMENT.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}")
