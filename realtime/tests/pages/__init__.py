"""Tests of the pages and their JavaScript."""
