"""Tests of announcements and the channel layer."""
