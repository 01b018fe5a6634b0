"""Runs the recipes of docs/recipes.md and docs/connect.md with the software that they are for: `make recipes`.

Each module runs one recipe. The recipes' texts come out of the documents; only addresses, keys and waiting times are
changed.
"""
