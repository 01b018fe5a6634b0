"""Sealing: moves the old readings of each log from rows to segments, and back; ids and marks that belong to it.

At every moment a reading with `seq` up to its device's `sealed_seq` is in exactly one segment, or retention has deleted
it; a later one is a row. Each step is one transaction that inserts and deletes segments, deletes or inserts rows and
moves `sealed_seq`. Only the process that holds the lock of maintenance may run a step.
"""
