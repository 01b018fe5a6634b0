"""The format of segments: readings of one device compressed by columns. Pure functions; docs/log-format.md explains it.

Depends on nothing but the structs of the log. `sealed` puts a segment together, of the columns of `values` and `ids`,
which are put together of the integers of `integers`.
"""
