"""Decides which keys there are: one per installation, and one per instance for its subject.

The installation's key lies in a file beside the database (or where the settings say), is
readable by its owner alone and made at the first start. It wraps the instance keys, which
live in ``subject_keys`` under the person they protect; deleting those rows is what erasure
does. The database remembers a check value, so that a wrong or lost key is noticed at the
door and not at the first unreadable name.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import threading
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from topstitch.foundation.errors import OperatorError, TamperError
from topstitch.foundation.ids import random_bytes

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
POOL_BYTES: Final = 4096
KEY_FILE: Final = "installation.key"


class SubjectKey:
    """The key of one instance's personal values, and how it is stored."""

    __slots__ = ("cipher", "fresh", "subject", "wrapped")

    def __init__(self, *, subject: str, wrapped: str, cipher: AESGCM, fresh: bool) -> None:
        self.subject, self.wrapped, self.cipher = subject, wrapped, cipher
        self.fresh = fresh
        """Not in the database yet."""

    def encrypt(self, data: bytes, place: str) -> str:
        """Encrypt what belongs at ``place`` (instance and sequence) and nowhere else."""
        return _seal(self.cipher, data, place)

    def decrypt(self, text: str, place: str) -> bytes:
        """Return what was encrypted for ``place``."""
        return _open(self.cipher, text, place)


class InstallationKey:
    """Wraps and unwraps the keys of instances."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._marks = hmac.digest(key, b"topstitch marks", "sha256")
        self.check = hashlib.sha256(b"topstitch installation key" + key).hexdigest()[:32]
        """What the database remembers of it; says nothing of the key."""

    def mark(self, purpose: str, *parts: str) -> str:
        """Return what only this installation can say of ``parts``, for one purpose: 128 bits, fit for an address."""
        text = "\x1f".join((purpose, *parts)).encode()
        return base64.urlsafe_b64encode(hmac.digest(self._marks, text, "sha256")[:16]).decode().rstrip("=")

    def new_subject_key(self, instance: str, subject: str) -> SubjectKey:
        """Make the key of an instance."""
        key = fresh_bytes(KEY_BYTES)
        return SubjectKey(subject=subject, wrapped=_seal(self._cipher, key, instance), cipher=AESGCM(key), fresh=True)

    def unwrap(self, instance: str, subject: str, wrapped: str) -> SubjectKey:
        """Open a stored key."""
        return SubjectKey(
            subject=subject, wrapped=wrapped, cipher=AESGCM(_open(self._cipher, wrapped, instance)), fresh=False
        )


class _Pool(threading.local):
    """Random bytes drawn by the page: each draw from the machine hands the interpreter lock over."""

    def __init__(self) -> None:
        self._bytes, self._at = b"", 0

    def take(self, count: int) -> bytes:
        """Return bytes that nobody else gets."""
        start, self._at = self._at, self._at + count
        if self._at > len(self._bytes):
            self._bytes, start, self._at = random_bytes(POOL_BYTES), 0, count
        return self._bytes[start : self._at]

    def forget(self) -> None:
        """Drop what is drawn: a forked process must not use the same."""
        self._bytes, self._at = b"", 0


_POOL: Final = _Pool()
os.register_at_fork(after_in_child=_POOL.forget)


def fresh_bytes(count: int) -> bytes:
    """Return ``count`` unpredictable bytes, at most a page."""
    return _POOL.take(count)


def read_or_make_key(path: Path | None, *, known_check: str | None) -> InstallationKey:
    """Return the installation's key; make it when the database knows of none yet.

    Without a path (a database in memory) the key lives as long as the process, and so
    does what it opens: an existing database is refused.
    """
    if path is None:
        if known_check is not None:
            raise OperatorError(
                "key-unnamed",
                "this database has an installation key, but no key file is named; name it in the settings",
            )
        return InstallationKey(random_bytes(KEY_BYTES))
    if not path.exists():
        if known_check is not None:
            raise OperatorError(
                "key-missing",
                f"the installation key {path} is missing; restore it from your backup, beside the database it "
                "belongs to",
            )
        return InstallationKey(_make(path))
    key = InstallationKey(_read(path))
    if known_check not in (None, key.check):
        raise OperatorError(
            "key-mismatch",
            f"the installation key {path} belongs to another database; put back the key that was made with this one",
        )
    return key


def given_key(text: str, *, known_check: str | None) -> InstallationKey:
    """Return the key that something else than a file has given, such as a key management service."""
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise OperatorError(
            "key-damaged", f"what key_command printed is no key; have it print {KEY_BYTES} bytes in base64"
        )
    made = InstallationKey(key)
    if known_check not in (None, made.check):
        raise OperatorError(
            "key-mismatch", "the key that key_command printed belongs to another database; correct the command"
        )
    return made


def _read(path: Path) -> bytes:
    try:
        text = path.read_text("ascii").strip()
        key = base64.b64decode(text, validate=True)
    except OSError as error:
        raise OperatorError(
            "key-unreadable",
            f"the installation key {path} cannot be read: {error.strerror}; let the user that runs topstitch read it",
        ) from error
    except ValueError as error:
        raise OperatorError(
            "key-damaged", f"the installation key {path} is damaged; restore it from your backup"
        ) from error
    if len(key) != KEY_BYTES:
        raise OperatorError("key-damaged", f"the installation key {path} is damaged; restore it from your backup")
    return key


def _make(path: Path) -> bytes:
    key = random_bytes(KEY_BYTES)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # exclusive, so that of two first starts one makes the key and the other reads it
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read(path)
    except OSError as error:
        raise OperatorError(
            "key-unwritable",
            f"the installation key {path} cannot be made: {error.strerror}; give the user that runs topstitch the "
            "right to write there",
        ) from error
    with os.fdopen(handle, "wb") as file:
        file.write(base64.b64encode(key) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return key


def _seal(cipher: AESGCM, data: bytes, place: str) -> str:
    nonce = fresh_bytes(NONCE_BYTES)
    return base64.b64encode(nonce + cipher.encrypt(nonce, data, place.encode())).decode()


def _open(cipher: AESGCM, text: str, place: str) -> bytes:
    sealed = base64.b64decode(text)
    try:
        return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place.encode())
    except InvalidTag as error:
        raise TamperError(
            "personal-unreadable",
            f"the personal values of {place} cannot be opened: they, or their key, were changed; compare with a backup",
        ) from error
