"""Counters of the live stream in this process. `telemetry.gateway.socket_log` counts the open sockets."""

from prometheus_client import Counter

HOLES_MENDED = Counter(
    "telemetry_live_holes_mended_total", "Gaps in the announced readings that were filled from the database."
)
NOT_ANNOUNCED = Counter(
    "telemetry_announcements_failed_total", "Commits not announced because the channel layer failed or was slow."
)
