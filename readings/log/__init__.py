"""The write path: numbers and stores new readings, alone or in groups that share a transaction.

Together with the models it is the lowest layer of `readings`. Does not depend on HTTP.
"""
