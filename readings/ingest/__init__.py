"""Ingest: the two endpoints, decoding and validation of bodies, the log of refused posts, and the CSV import.

May import the log.
"""
