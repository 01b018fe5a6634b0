"""Verifies the logs of devices for `check_log`: numbers, segments, positions and statistics. Changes nothing.

Every statement sees one snapshot, so readings and maintenance may go on meanwhile; only an erasure that is under way
looks like missing readings.
"""
