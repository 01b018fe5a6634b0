"""Tests that concern the answers of every endpoint."""
