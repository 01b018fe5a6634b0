"""The protocol of sockets and channel-layer messages: frames, client messages, ranges of `seq`, group names.

Imports nothing else of `realtime`.
"""
