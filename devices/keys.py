"""API keys and tokens: a recognisable prefix and 192 random bits; the database stores only their SHA-256.

A fast hash is safe here, because the keys are random and cannot be found with a dictionary.
"""

import hashlib
import secrets

PREFIX = "tlm_"
# Of API tokens. Keys of devices never begin with it, so that one look at a key says where to look it up.
TOKEN_PREFIX = "tlt_"  # noqa: S105
RANDOM_BYTES = 24
HINT_CHARACTERS = len(PREFIX) + 4


def generate_key() -> str:
    """A new key of 36 characters. It is shown to its owner once and never stored."""
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def generate_token() -> str:
    """A new API token of 36 characters. It is shown once and never stored."""
    return TOKEN_PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def hash_key(key: str) -> str:
    """The hexadecimal SHA-256 of a key, 64 characters, by which it is stored and looked up."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def key_hint(key: str) -> str:
    """The first characters of a key, which may be shown: enough to tell two keys apart; 168 bits stay secret."""
    return key[:HINT_CHARACTERS]
