from typing import Any

from django.contrib.sessions.backends import db


class SessionStore(db.SessionStore):
    """Django's database sessions, but keys with other characters are rejected: PostgreSQL fails on a NUL."""

    def _validate_session_key(self, key: Any) -> bool:
        return bool(key) and key.isascii() and key.isalnum() and super()._validate_session_key(key)  # type: ignore[misc]
