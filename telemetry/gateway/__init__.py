"""ASGI applications before Django: who is calling, bodies, the ingest lane, places for questions, the log of sockets.

May import the middleware and monitoring.
"""
