"""Decides the exact bytes of a value, its digest, and how records are chained.

The store hashes what it stores, as it stores it; verification never writes a value anew.
Canonical form is JSON with sorted keys and no white space, equal to RFC 8785 on strings,
booleans, null and integers below 2^53 with ASCII keys. It never sees a clock or a key.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import orjson

GENESIS: Final = bytes(32)
"""The ``prev`` of an instance's first record."""

_OPTIONS: Final = orjson.OPT_SORT_KEYS


def canonical_bytes(value: object) -> bytes:
    """Return the one byte form of a JSON-shaped value."""
    return orjson.dumps(value, option=_OPTIONS)


def parse(data: bytes | str) -> Any:
    """Read JSON; raise ``ValueError`` when it is none."""
    return orjson.loads(data)


def digest(value: object) -> str:
    """Return ``sha256:<hex>`` of the canonical bytes."""
    return "sha256:" + hashlib.sha256(canonical_bytes(value)).hexdigest()


def digest_bytes(data: bytes) -> str:
    """Return ``sha256:<hex>`` of bytes as they are."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def chain_hash(prev: bytes, body: bytes) -> bytes:
    """Return SHA-256(0x00 || prev || body), the link of one record to the one before it."""
    return hashlib.sha256(b"\x00" + prev + body).digest()


def commitment(salt: bytes, value: object) -> bytes:
    """Return SHA-256(salt || canonical value): says nothing of the value, binds to it."""
    return hashlib.sha256(salt + canonical_bytes(value)).digest()
