"""Logs and Prometheus metrics of a process. Keys are removed from logs.

Imports nothing else of `telemetry`.
"""
