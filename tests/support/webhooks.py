"""Checks a message as a receiver does who was given nothing but our public key: Standard Webhooks, ``v1a``."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def verify_v1a(headers: Mapping[str, str], body: bytes, public: str) -> None:
    """Raise ``InvalidSignature`` unless one of the message's signatures is this key's."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_"), validate=True))
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    for one in headers["webhook-signature"].split():
        version, _, signature = one.partition(",")
        if version != "v1a":
            continue
        try:
            key.verify(base64.b64decode(signature, validate=True), text)
        except InvalidSignature:
            continue
        return
    raise InvalidSignature
