"""How threads use the database: kinds of work with their own connections and deadlines, and what errors mean.

Imports nothing else of `devices`.
"""
