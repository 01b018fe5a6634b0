"""The catalogue of metrics: their labels, units, decimals, order and plausible ranges, and the names that are new.

May import the models.
"""
