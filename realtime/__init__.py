"""Live: sockets, what announces readings to them, and the pages that show them.

May import `readings` and `devices`.
"""
