"""Shared by the tests: servers in processes of their own, clients, faults."""
