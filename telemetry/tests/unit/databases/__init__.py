"""Tests of databases: deadlines, erasure, migrations."""
