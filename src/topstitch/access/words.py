"""Decides what the secrets that we hand out look like: session secrets, and API tokens that scanners can find.

A token is ``topstitch_pat_``, 32 bytes of chance in base62, and a check sum in base62, so that a typo
or somebody else's token is known without asking the database. Only digests of either are kept.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import Final

from topstitch.foundation.ids import random_bytes

PREFIX: Final = "topstitch_pat_"
SECRET_BYTES: Final = 32
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH: Final = 43
_SUM_LENGTH: Final = 6


def new_token() -> str:
    """Return the text of a new token."""
    secret = _base62(int.from_bytes(random_bytes(SECRET_BYTES), "big"), _SECRET_LENGTH)
    return f"{PREFIX}{secret}{_check_sum(secret)}"


def is_token(text: str) -> bool:
    """Whether a text has the form and the check sum of a token."""
    if not text.startswith(PREFIX) or len(text) != len(PREFIX) + _SECRET_LENGTH + _SUM_LENGTH:
        return False
    rest = text[len(PREFIX) :]
    return rest.isalnum() and rest.isascii() and _check_sum(rest[:_SECRET_LENGTH]) == rest[_SECRET_LENGTH:]


def new_secret() -> str:
    """Return a new secret for a cookie or for a round trip to a provider."""
    return base64.urlsafe_b64encode(random_bytes(SECRET_BYTES)).decode().rstrip("=")


def digest_of(secret: str) -> str:
    """Return under which digest a secret is kept."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _check_sum(secret: str) -> str:
    return _base62(zlib.crc32((PREFIX + secret).encode()), _SUM_LENGTH)


def _base62(value: int, length: int) -> str:
    characters = []
    for _ in range(length):
        value, digit = divmod(value, 62)
        characters.append(_DIGITS[digit])
    return "".join(reversed(characters))
