"""From the commit to the channel layer: new readings are encoded once and announced to whoever listens.

May import `realtime.protocol`.
"""
