"""Tests of aggregates, buckets and rollups."""
