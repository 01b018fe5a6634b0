"""Reading the log: the endpoints for history, statistics and the latest values, and the CSV export.

May import the statistics and the log.
"""
