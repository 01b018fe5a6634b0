"""The console: Django's admin with an overview, accounts and roles, declared filters only, and sign-in limits.

May import the middleware.
"""
