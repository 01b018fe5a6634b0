"""Tests of the registration of many devices from a table."""
