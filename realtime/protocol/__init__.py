"""What is said on a socket and between processes: frames, messages of clients, ranges of a log, group names.

Imports nothing else of `realtime`.
"""
