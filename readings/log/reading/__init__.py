"""Reads the two forms of a log as one: rows for its newest part, segments for what is sealed.

Each question is split into chunks of one statement each, which finds rows and segments in one snapshot: so it sees each
reading once, whatever is sealed, unsealed or deleted meanwhile. Only `readings.log.reader` and `readings.log.sources`
import from here; it imports the models and the format of segments.
"""
