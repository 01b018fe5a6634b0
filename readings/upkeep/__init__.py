"""Background work: rollups, retention, erasure, and the locks, passes and failure handling of maintenance.

May import the statistics and the log.
"""
