"""Prometheus: scrapes `/metrics` with the documented configuration, and understands the documented alerts."""

import re
from pathlib import Path
from typing import Any

import httpx
import yaml

from benchmarks.measuring.servers import Server
from benchmarks.pages.console import ROOT
from benchmarks.recipes.documents import blocks, replaced
from benchmarks.recipes.installation import ADMIN_KEY, Installation, free_port, wait_for
from benchmarks.recipes.software import program

INSTALL = "apt-get install prometheus"


def run(installation: Installation, folder: Path) -> str:
    prometheus = program("prometheus", install=INSTALL)
    (scrape,) = blocks("observability.md", "Metrics")
    (query,) = blocks("recipes.md", "Prometheus")
    key = folder / "telemetry-key"
    key.write_text(ADMIN_KEY)
    configuration = yaml.safe_load(
        replaced(
            scrape,
            ("/etc/prometheus/telemetry-key", str(key)),
            ('"127.0.0.1:8001", "127.0.0.1:8002"', f'"{installation.url.removeprefix("http://")}"'),
        )
    )
    (folder / "prometheus.yml").write_text(yaml.safe_dump({"global": {"scrape_interval": "1s"}} | configuration))
    port = free_port()
    command = [
        prometheus,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with Server(command, port=port, log=folder / "prometheus.log", environment={}) as server:

        def value(expression: str) -> float | None:
            """The value of an expression of one series; None if it has none."""
            answer = httpx.get(f"{server.url}/api/v1/query", params={"query": expression}).raise_for_status().json()
            result: list[dict[str, Any]] = answer["data"]["result"]
            return float(result[0]["value"][1]) if result else None

        wait_for("a scrape", lambda: value("up") == 1)
        wait_for("the first value", lambda: value("telemetry_readings_accepted_total") == 0)
        installation.post(temperature=21.5)
        installation.post(temperature=21.6)
        wait_for("two readings", lambda: value("telemetry_readings_accepted_total") == 2)
        wait_for("their rate", lambda: (value(query) or 0) > 0)
        alerts = alert_expressions()
        for expression in alerts:
            value(expression)
        build = httpx.get(f"{server.url}/api/v1/status/buildinfo").json()["data"]["version"]
    return f"Prometheus {build.partition('+')[0]}, {len(alerts)} alerts"


def alert_expressions() -> list[str]:
    """The first code of each row in the table of recommended alerts."""
    text = (ROOT / "docs" / "observability.md").read_text()
    table = text[text.index("**Recommended alerts:**") : text.index("## The log")]
    return re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)
