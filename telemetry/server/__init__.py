"""The servers daphne and uvicorn with limits for each connection, and an orderly shutdown.

May import the gateway, middleware and monitoring.
"""
