"""Database work in threads: kinds of work with their own connections and deadlines, and the meaning of errors.

Imports nothing else of `devices`.
"""
