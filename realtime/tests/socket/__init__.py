"""Tests of live sockets, through the real application without a server."""
