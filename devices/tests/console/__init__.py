"""Tests of devices in the console."""
