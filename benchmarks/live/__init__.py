"""`make bench-live`: the live stream."""
