"""Tests of the ingest endpoints and of decoding."""
