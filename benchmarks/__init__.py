"""Benchmarks of the product and its alternatives: each `make bench-…` is a module or a package here."""
