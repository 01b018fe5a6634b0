"""ASGI applications in front of Django: proxy headers, request bodies, ingest, limits of requests, the socket log.

May import the middleware and monitoring.
"""
