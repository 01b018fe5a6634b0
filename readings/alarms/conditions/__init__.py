"""The conditions of rules as pure functions `(state, readings, now) → (state, events)`, one module for each kind.

Evaluation, preview and tests use the same functions. Imports nothing of Django or of the rest of the product.
"""
