"""Who may watch what: tickets, keys and sessions of a socket, and the origins that may open one.

May import the models and `realtime.protocol`.
"""
