"""Tests of keys: rotation, refusal, revocation."""
