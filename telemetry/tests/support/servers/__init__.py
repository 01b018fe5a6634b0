"""Servers in processes of their own, and faults between them."""
