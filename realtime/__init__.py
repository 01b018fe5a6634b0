"""Live WebSockets, the announcement of new readings to them, and the live pages.

May import `readings` and `devices`.
"""
