"""Statistics of any window: planned over rollups and readings, and asked of the database in one statement.

May import the models; `readings.upkeep` writes the rollups that it reads.
"""
