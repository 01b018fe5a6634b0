"""Tests of settings, set-up, documents and pinned libraries."""
