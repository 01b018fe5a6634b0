"""Readings: the log, ingest, history, statistics and upkeep.

May import `devices`; knows nothing of channels or of who listens.
"""
