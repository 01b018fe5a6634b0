"""Access to the live sockets: tickets, device keys, sessions and allowed origins.

May import the models and `realtime.protocol`.
"""
