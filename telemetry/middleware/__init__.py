"""Middleware around every request: request id, access log, problem documents and the content security policy.

May import monitoring.
"""
