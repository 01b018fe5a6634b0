"""`make bench-queries`: queries, and export, import and maintenance."""
