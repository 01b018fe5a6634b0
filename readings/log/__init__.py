"""The write path: new readings are numbered and stored, by themselves or in groups that share a transaction.

Together with the models it is the lowest layer of `readings`; knows nothing of HTTP.
"""
