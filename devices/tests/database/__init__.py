"""Tests of database work and of the state rows."""
