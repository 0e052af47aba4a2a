"""Decides how a webhook going out proves where it comes from: the signatures of Standard Webhooks, and their secrets.

``v1`` is an HMAC under a secret that sender and receiver share. ``v1a`` is an Ed25519 signature under a key that only
we hold: a receiver checks it with the public half, and could forge nothing if it leaked. A message may carry several
of each, so that a receiver can change over in peace. ``office.webhooks`` makes secrets and says which are live.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from topstitch.foundation.ids import random_bytes

V1, V1A = "v1", "v1a"
SIGNATURES: Final = (V1, V1A)
SECRET, PRIVATE, PUBLIC = "whsec_", "whsk_", "whpk_"
"""How a shared secret, a private and a public key begin."""
BYTES: Final = 32


def new_secret() -> str:
    """Return a fresh secret as receivers paste it."""
    return SECRET + base64.b64encode(random_bytes(BYTES)).decode()


def new_key() -> str:
    """Return a fresh private key; it never leaves the vault."""
    return PRIVATE + base64.b64encode(random_bytes(BYTES)).decode()


def public_of(private: str) -> str:
    """Return the public half of a key as receivers paste it."""
    raw = _private(private).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return PUBLIC + base64.b64encode(raw).decode()


def signed(name: str, now: datetime, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """Return the headers of a message: its id, its time, and one signature for each live secret or key."""
    stamp = str(int(now.timestamp()))
    text = f"{name}.{stamp}.".encode() + body
    return {
        "webhook-id": name,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(_signature(one, text) for one in secrets),
    }


def _signature(secret: str, text: bytes) -> str:
    if secret.startswith(PRIVATE):
        return f"{V1A},{base64.b64encode(_private(secret).sign(text)).decode()}"
    return f"{V1},{base64.b64encode(hmac.new(_shared(secret), text, hashlib.sha256).digest()).decode()}"


def _private(key: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(key.removeprefix(PRIVATE)))


def _shared(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(SECRET), validate=True)
    except (binascii.Error, ValueError):
        return secret.encode()
