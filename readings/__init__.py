"""Readings: the log, ingest, history, statistics and upkeep.

May import `devices`. Does not depend on channels or on the receivers of its signal.
"""
