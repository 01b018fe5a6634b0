"""The OpenAPI schema: what all operations share, and the view that serves it."""
