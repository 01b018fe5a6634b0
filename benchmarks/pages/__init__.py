"""`make bench-pages` and `make screenshots`: pages in Chromium."""
