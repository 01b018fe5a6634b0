from typing import Any

from django.contrib.sessions.backends import db


class SessionStore(db.SessionStore):
    """Django's own, asking the database only for keys that can be there: PostgreSQL fails on a NUL in a cookie."""

    def _validate_session_key(self, key: Any) -> bool:
        return bool(key) and key.isascii() and key.isalnum() and super()._validate_session_key(key)  # type: ignore[misc]
