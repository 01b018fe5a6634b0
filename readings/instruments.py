"""What this process counts of readings. Whoever counts imports from here; telemetry.monitoring.prometheus shows it."""

from collections.abc import Iterable
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

ACCEPTED = Counter("telemetry_readings_accepted_total", "Readings stored, by any way: HTTP, import.")
DUPLICATES = Counter("telemetry_readings_duplicates_total", "Readings whose id was stored already.")
REJECTED = Counter("telemetry_readings_rejected_total", "Readings refused, by the code of the refusal.", ["code"])

COMMIT_READINGS = Histogram(
    "telemetry_commit_readings",
    "Readings of one transaction of the ingest lane.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 10_000),
)
COMMIT_SECONDS = Histogram(
    "telemetry_commit_seconds",
    "Such a transaction, from its first statement to the end of its commit.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
COMMIT_FAILURES = Counter("telemetry_commit_failures_total", "Such transactions that failed.")
QUEUED = Gauge("telemetry_ingest_queue_readings", "Readings that wait for a transaction.")
OVERLOADS = Counter("telemetry_ingest_overloads_total", "Requests refused because the queue was full.")

MAINTAINED = Gauge(
    "telemetry_maintenance_last_run_timestamp_seconds", "When this process last ended a round; 0: never."
)
MAINTENANCE_SECONDS = Gauge("telemetry_maintenance_last_run_seconds", "How long that round took.")
ROLLED_UP = Counter("telemetry_maintenance_rolled_up_readings_total", "Readings that this process has rolled up.")
FAILED_ROUNDS = Counter(
    "telemetry_maintenance_failed_rounds_total", "Rounds that an error has ended; each is tried again."
)
FAILED_DEVICES = Counter(
    "telemetry_maintenance_failed_devices_total",
    "How often a round had to leave out a device for which it failed; each is tried again.",
)
DELETED = Counter("telemetry_maintenance_deleted_readings_total", "Readings that this process deleted, being too old.")


def count_stored(outcomes: Iterable[Any], accepted: int) -> None:
    """Counts what became of readings in a transaction (`recording.Recorded`), `accepted` of which are new."""
    ACCEPTED.inc(accepted)
    for outcome in outcomes:
        if outcome.duplicate:
            DUPLICATES.inc()
        elif outcome.refusal:
            REJECTED.labels(outcome.refusal.code).inc()
