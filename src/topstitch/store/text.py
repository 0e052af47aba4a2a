"""Decides how bytes from outside are kept as text, so that they come back exactly."""

from __future__ import annotations

import base64
import contextlib
from typing import Final

_MARK: Final = "base64:"


def bytes_text(data: bytes) -> str:
    """Return bytes as text: themselves when they are UTF-8 that every database takes, else ``base64:...``."""
    with contextlib.suppress(UnicodeDecodeError):
        text = data.decode()
        if "\x00" not in text and not text.startswith(_MARK):
            return text
    return _MARK + base64.b64encode(data).decode()


def text_bytes(text: str) -> bytes:
    """Return the bytes that ``bytes_text`` was given."""
    return base64.b64decode(text.removeprefix(_MARK)) if text.startswith(_MARK) else text.encode()
