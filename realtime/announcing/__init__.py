"""Announces committed readings on the channel layer; each reading is encoded once per process.

May import `realtime.protocol`.
"""
