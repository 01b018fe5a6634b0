"""Tests of limits on real servers."""
