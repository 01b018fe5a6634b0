"""Tests of the console as a whole."""
