"""Tests of readings in the console."""
