"""Imports CSV files into the log through the write path of ingest, each row only once.

`source` opens and decodes a file, `records` splits it into rows of cells, `dialect` finds out its separators, `header`
assigns its columns, `local_times` and `cells` read the cells, `rows` makes readings, `storing` stores them. May import
`readings.ingest.payloads` and the log.
"""
