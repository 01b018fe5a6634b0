"""From the channel layer to the sockets: watched logs in order, replays of what is missing, one outbox for each socket.

May import `realtime.access` and `realtime.protocol`.
"""
