"""Tests of history, latest values and CSV export."""
