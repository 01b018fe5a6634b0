"""Tests of maintenance and retention."""
