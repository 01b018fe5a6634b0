"""Prometheus metrics of this process about readings, exported by `telemetry.monitoring.prometheus`."""

from collections.abc import Iterable
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

ACCEPTED = Counter("telemetry_readings_accepted_total", "Readings stored, over HTTP or by an import.")
DUPLICATES = Counter("telemetry_readings_duplicates_total", "Readings not stored because their id was stored.")
REJECTED = Counter("telemetry_readings_rejected_total", "Readings refused, by error code.", ["code"])
DOOR_READINGS = Counter(
    "telemetry_door_readings_total",
    "Readings that came through a door, by what became of them: stored, duplicate, refused.",
    ["door", "outcome"],
)
DOOR_SKIPPED = Counter(
    "telemetry_door_skipped_values_total", "Values that a door did not store, such as text, by code.", ["door", "code"]
)

COMMIT_READINGS = Histogram(
    "telemetry_commit_readings",
    "Readings per transaction of the ingest lane.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 10_000),
)
COMMIT_SECONDS = Histogram(
    "telemetry_commit_seconds",
    "Duration of a transaction of the ingest lane, from its first statement to the end of its commit.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
COMMIT_FAILURES = Counter("telemetry_commit_failures_total", "Transactions of the ingest lane that failed.")
QUEUED = Gauge("telemetry_ingest_queue_readings", "Readings waiting for a transaction.")
OVERLOADS = Counter("telemetry_ingest_overloads_total", "Requests refused because the queue was full.")

MAINTAINED = Gauge(
    "telemetry_maintenance_last_run_timestamp_seconds", "When this process last finished a round; 0: never."
)
MAINTENANCE_SECONDS = Gauge("telemetry_maintenance_last_run_seconds", "Duration of the last round in this process.")
ROLLED_UP = Counter("telemetry_maintenance_rolled_up_readings_total", "Readings that this process rolled up.")
FAILED_ROUNDS = Counter(
    "telemetry_maintenance_failed_rounds_total", "Rounds that ended with an error. The next round tries again."
)
FAILED_DEVICES = Counter(
    "telemetry_maintenance_failed_devices_total",
    "How often a round left out a device because of an error. The next round tries it again.",
)
DELETED = Counter("telemetry_maintenance_deleted_readings_total", "Readings that retention deleted in this process.")
SEALED = Counter("telemetry_maintenance_sealed_readings_total", "Readings that this process sealed.")
SEGMENTS_WRITTEN = Counter(
    "telemetry_maintenance_segments_written_total",
    "Segments that this process wrote when it sealed readings; the last one of a device is written again to be filled.",
)
SEALING_FAILURES = Counter(
    "telemetry_maintenance_sealing_failures_total",
    "How often sealing left out a device because of an error. It also counts as a failed device.",
)


def count_stored(outcomes: Iterable[Any], accepted: int) -> None:
    """Counts the outcomes of a transaction (each a `recording.Recorded`), and `accepted` new readings."""
    ACCEPTED.inc(accepted)
    for outcome in outcomes:
        if outcome.duplicate:
            DUPLICATES.inc()
        elif outcome.refusal:
            REJECTED.labels(outcome.refusal.code).inc()
