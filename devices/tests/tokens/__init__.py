"""Tests of API tokens and of what they are limited to."""
