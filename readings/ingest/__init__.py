"""How readings come in: the ingest endpoints, decoding and checking of bodies, refused posts, CSV import.

May import the log.
"""
