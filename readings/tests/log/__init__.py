"""Tests of the write path and of what it stores."""
