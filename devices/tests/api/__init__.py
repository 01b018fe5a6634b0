"""Tests of the device endpoints and of registering."""
