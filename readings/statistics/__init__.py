"""Statistics of any window, computed from rollups and readings in one SQL statement.

May import the models; `readings.upkeep` writes the rollups that it reads.
"""
