"""Delivers readings from the channel layer to the sockets.

It keeps the watched logs in order, replays what is missing from the database, and has one outbox for each socket.

May import `realtime.access` and `realtime.protocol`.
"""
