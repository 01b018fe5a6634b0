"""The console: Django's admin with an overview, limits on accounts and roles, declared filters, and sign-in limits.

May import the middleware.
"""
