"""Who is calling and what they may do: keys and sessions become callers, permissions and rate limits judge them.

May import the models, keys and `devices.database`; knows nothing of the endpoints.
"""
