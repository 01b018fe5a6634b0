"""The list of changes: who changed what, how, and what it was before.

`log` writes it. `models` is among the models of `devices`, and may import only what those import.
"""
