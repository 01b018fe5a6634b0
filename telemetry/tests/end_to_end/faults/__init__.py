"""Tests of faults: of servers, databases, networks and clients."""
