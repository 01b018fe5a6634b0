"""Tests of what is before Django: bodies, limits, the ingest lane."""
