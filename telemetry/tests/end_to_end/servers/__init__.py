"""Tests of servers, their set-up and their scripts."""
