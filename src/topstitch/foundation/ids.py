"""Decides what things are called, and is the only source of chance.

Random ids sort by time and carry a type prefix (``ins_01KAM3R7...``). Derived ids follow
from what they name, so that a pure function can name an approval or a task. Jitter is
derived too: the same key and attempt always wait the same time.
"""

from __future__ import annotations

import hashlib
import os
from datetime import datetime
from typing import Final

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def random_bytes(count: int) -> bytes:
    """Return ``count`` unpredictable bytes."""
    return os.urandom(count)


def new_id(prefix: str, now: datetime, entropy: bytes | None = None) -> str:
    """Return a ULID with a type prefix: 48 bits of milliseconds, 80 of chance."""
    milliseconds = int(now.timestamp() * 1000)
    value = (milliseconds << 80) | int.from_bytes(entropy or os.urandom(10), "big")
    return f"{prefix}_{_base32(value, 26)}"


def derived_id(prefix: str, *parts: str) -> str:
    """Return the id that follows from ``parts``: 60 bits of SHA-256, twelve characters."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return f"{prefix}_{_base32(int.from_bytes(digest[:8], 'big') >> 4, 12)}"


def jitter(key: str, attempt: int) -> float:
    """Return a number in [0, 1) that follows from the key and the attempt."""
    digest = hashlib.sha256(f"{key}#{attempt}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / (1 << 48)


def _base32(value: int, length: int) -> str:
    characters = []
    for _ in range(length):
        characters.append(_CROCKFORD[value & 31])
        value >>= 5
    return "".join(reversed(characters))
