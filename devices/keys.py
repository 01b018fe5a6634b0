"""API keys: 192 random bits behind a prefix one recognises, known to the database only by their SHA-256.

A fast hash is right here: the keys are random, so there is no dictionary to try against them.
"""

import hashlib
import secrets

PREFIX = "tlm_"
RANDOM_BYTES = 24
HINT_CHARACTERS = len(PREFIX) + 4


def generate_key() -> str:
    """A new key, 36 characters; to be shown to its owner once and never stored."""
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def hash_key(key: str) -> str:
    """The hexadecimal SHA-256 by which a key is stored and looked up, 64 characters."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def key_hint(key: str) -> str:
    """As much of a key as may be shown for good: enough to tell two keys apart, 168 bits short of one."""
    return key[:HINT_CHARACTERS]
