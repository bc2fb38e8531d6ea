"""What OpenRouter calls a key by: the lower-case hex SHA-256 of the whole key string."""

import hashlib

from pydantic import SecretStr


def key_hash_of(secret: SecretStr) -> str:
    """Return the hash of the key *secret*, which may be shown to anybody."""
    return hashlib.sha256(secret.get_secret_value().encode()).hexdigest()
