"""Counters of the live stream in this process. `telemetry.gateway.socket_log` counts the open sockets."""

from prometheus_client import Counter

HOLES_MENDED = Counter("telemetry_live_holes_mended_total", "Holes in what was announced, filled from the database.")
NOT_ANNOUNCED = Counter(
    "telemetry_announcements_failed_total", "Commits that were not announced: the channel layer was away or too slow."
)
