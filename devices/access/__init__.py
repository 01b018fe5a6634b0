"""Authentication, permissions and rate limits: a key or a session identifies a `Caller`, whose rights are then checked.

May import the models, keys and `devices.database`, but not the endpoints.
"""
