"""Tests of authorisation, roles and signing in."""
