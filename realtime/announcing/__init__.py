"""Announces committed readings and changes of alarms to all processes; each is encoded once per process.

May import `realtime.protocol`, and `realtime.stream` for the hubs of its own process.
"""
