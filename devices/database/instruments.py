"""Prometheus counters of this process about database work, exported by `telemetry.monitoring.prometheus`."""

from prometheus_client import Counter

DATABASE_TIMEOUTS = Counter(
    "telemetry_database_timeouts_total",
    "Waits for the database that exceeded their deadline, by kind of work.",
    ["work"],
)
CONNECTIONS_REPLACED = Counter(
    "telemetry_database_connections_replaced_total",
    "Connections that were closed because the database did not answer on them, by kind of work.",
    ["work"],
)
DATABASE_THREADS_REPLACED = Counter(
    "telemetry_database_threads_replaced_total",
    "Threads that were replaced because they hung, by kind of work.",
    ["work"],
)
