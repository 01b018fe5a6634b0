"""What operators see of a process: logs without keys in them, and metrics for Prometheus.

Imports nothing else of `telemetry`.
"""
