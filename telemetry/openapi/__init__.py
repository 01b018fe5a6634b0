"""The OpenAPI schema: parts common to all operations, and the view that serves it."""
