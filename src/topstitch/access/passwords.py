"""Decides how passwords are kept and checked: argon2id, in a thread, equally slow for people who do not exist.

``Access`` and the command ``users`` call it. A password is never written, logged or cut.
"""

from __future__ import annotations

import asyncio
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from topstitch.foundation.errors import RequestError

LENGTH_MIN: Final = 12
LENGTH_MAX: Final = 1024


class Passwords:
    """Hashes passwords and checks them."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()  # argon2id, the second choice of RFC 9106: 64 MiB, 3 passes
        self._nobody: str | None = None

    def hash(self, password: str) -> str:
        """Return what is kept of a password; raise when it is too short or too long."""
        if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
            message = f"a password has {LENGTH_MIN} to {LENGTH_MAX} characters; choose another, such as four words"
            raise RequestError("password-length", message)
        return self._hasher.hash(password)

    async def fits(self, kept: str | None, password: str) -> bool:
        """Whether a password is the one that was kept; without one it takes as long, and it is not."""
        return await asyncio.to_thread(self._fits, kept, password[: LENGTH_MAX + 1])

    def is_weak(self, kept: str) -> bool:
        """Whether a kept hash was made with less effort than a new one would be."""
        return self._hasher.check_needs_rehash(kept)

    def _fits(self, kept: str | None, password: str) -> bool:
        if kept is None and self._nobody is None:
            self._nobody = self._hasher.hash("nobody has this password")
        try:
            self._hasher.verify(kept or self._nobody or "", password)
        except (VerificationError, InvalidHashError):
            return False
        return kept is not None
