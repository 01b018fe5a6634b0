"""What runs in the background: rollups, retention, erasure, and what keeps their rounds fair and safe.

May import the statistics and the log.
"""
