"""Which owner a key belongs to.

A key is known by the SHA-256 of its secret: OpenRouter documents that hash as the key's own name in its management API
and its web pages, so a key read by its secret and the same key read by a sweep are one counter. The secret itself is
never stored.
"""

import hashlib


def key_hash(secret: str) -> str:
    """Return the lower-case hex SHA-256 of the whole key string, `sk-or-v1-` included."""
    return hashlib.sha256(secret.encode()).hexdigest()
