"""Tests of the links that show a saved view."""
