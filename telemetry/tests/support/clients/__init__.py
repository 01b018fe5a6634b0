"""Clients of a real server."""
