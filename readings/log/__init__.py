"""The log: the write path, which numbers and stores new readings alone or in groups, and the reader of stored ones.

Together with the models it is the lowest layer of `readings`. Does not depend on HTTP.
"""
