"""Tests of the import of CSV files."""
