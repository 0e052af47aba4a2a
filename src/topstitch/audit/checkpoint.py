"""Decides what a checkpoint says and who has signed it: C2SP signed notes with Ed25519.

A ``SigningKey`` lies in a file beside the installation's key, or is any ``Signer`` (a KMS).
Its name is the origin: one per installation, the same after a rotation. A rotation is a note
signed by the old key and by the new, written into the installation's own journal, so that
whoever trusts one key can follow to the other. The private key is shown nowhere. Reading
and verifying notes is in ``check_bundle``, which auditors carry away.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from topstitch.audit import tree
from topstitch.audit.check_bundle import (
    KEY_TYPE_ED25519,
    LAST,
    ROTATION,
    Checkpoint,
    Problem,
    Ring,
    VerifyKey,
    follow_rotations,
    make_key,
    open_checkpoint,
    parse_checkpoint,
    split_note,
)
from topstitch.foundation.errors import OperatorError, RequestError, TamperError
from topstitch.foundation.ids import random_bytes

KEY_FILE: Final = "checkpoint.key"
KEY_ROTATED: Final = "key.rotated"
"""The kind of record that holds a rotation's note, in the installation's own journal."""
_PRIVATE: Final = "PRIVATE+KEY+"
_SEED_BYTES: Final = 32


class Signer(Protocol):
    """Whatever can sign: a key file, or a key management service that never shows its key."""

    @property
    def key(self) -> VerifyKey:
        """The public half."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature of a message."""
        ...


class SigningKey:
    """An Ed25519 key of this installation."""

    __slots__ = ("_private", "_seed", "key")

    def __init__(self, name: str, seed: bytes) -> None:
        self._seed = seed
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.key: VerifyKey = make_key(name, self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def __repr__(self) -> str:
        """Name the public half only."""
        return f"SigningKey({self.key})"

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message."""
        return self._private.sign(message)

    def private_text(self) -> str:
        """Return the line that the key file holds."""
        data = base64.b64encode(KEY_TYPE_ED25519 + self._seed).decode()
        return f"{_PRIVATE}{self.key.name}+{self.key.key_id.hex()}+{data}"


def new_signing_key(origin: str | None = None) -> SigningKey:
    """Make a key, for a new origin unless one is named (a rotation keeps the origin)."""
    return SigningKey(origin or f"topstitch.local/{random_bytes(8).hex()}", random_bytes(_SEED_BYTES))


def read_or_make_key(path: Path, *, signed_before: bool) -> SigningKey:
    """Return the key in a file; make it unless this installation has signed with one before."""
    if path.exists():
        return _read(path)
    if signed_before:
        raise OperatorError(
            "checkpoint-key-missing",
            f"the key that signs checkpoints, {path}, is missing; restore it from your backup, or begin a new one with "
            "`topstitch audit rotate-key --lost` and tell your auditors",
        )
    key = new_signing_key()
    write_key(path, key)
    return key


def write_key(path: Path, key: SigningKey, *, replace: bool = False) -> None:
    """Write a key file that only its owner can read; ``replace`` puts it in the place of an older one at once."""
    target = path.with_suffix(".new") if replace else path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(key.private_text() + "\n")
            file.flush()
            os.fsync(file.fileno())
        if replace:
            target.replace(path)
    except OSError as error:
        raise OperatorError(
            "checkpoint-key-unwritable",
            f"the key that signs checkpoints cannot be written to {target}: {error.strerror}; "
            "give the user that runs topstitch the right to write there, and remove an older file of that name",
        ) from error


def _read(path: Path) -> SigningKey:
    try:
        kind, _, rest = path.read_text("ascii").strip().partition(_PRIVATE)
        name, key_id, data = rest.split("+", 2)
        raw = base64.b64decode(data, validate=True)
        key = SigningKey(name, raw[1:])
        whole = not kind and raw[:1] == KEY_TYPE_ED25519 and key.key.key_id.hex() == key_id
    except OSError as error:
        raise OperatorError(
            "checkpoint-key-unreadable",
            f"the key that signs checkpoints, {path}, is unreadable: {error.strerror}; "
            "let the user that runs topstitch read it",
        ) from error
    except ValueError:
        whole = False
    if not whole:
        damaged = f"the key that signs checkpoints, {path}, is damaged; restore it from your backup"
        raise OperatorError("checkpoint-key-damaged", damaged)
    return key


# --- Notes ------------------------------------------------------------------------------------


def checkpoint_text(origin: str, size: int, root: bytes) -> str:
    """Return what is signed: origin, size, root."""
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"


def signed_note(text: str, signers: Iterable[Signer]) -> str:
    """Return a text with a line per signature."""
    lines = []
    for signer in signers:
        data = base64.b64encode(signer.key.key_id + signer.sign(text.encode())).decode()
        lines.append(f"\u2014 {signer.key.name} {data}\n")
    return text + "\n" + "".join(lines)


def sign_tree(signer: Signer, size: int, read: tree.ReadTile) -> tuple[str, str]:
    """Return root (base64) and signed note of the tree at ``size``: what ``store.ledger.seal_tree`` keeps."""
    root = tree.root(size, read)
    return base64.b64encode(root).decode(), signed_note(checkpoint_text(signer.key.name, size, root), [signer])


def rotation_note(old: Signer, new: Signer, size: int) -> str:
    """Return the note by which ``old`` hands over to ``new`` at a size of the tree."""
    return signed_note(f"{ROTATION}\n{old.key.name}\n{old.key}\n{new.key}\n{size}\n", [old, new])


def last_note(signer: Signer, instance: str, seq: int, own: str, size: int) -> str:
    """Return the statement which record of an instance is the last in the tree of ``size`` leaves; ``own`` its hash."""
    return signed_note(f"{LAST}\n{signer.key.name}\n{instance}\n{seq}\n{own}\n{size}\n", [signer])


def read_checkpoint(note: str, ring: Ring) -> tuple[Checkpoint, VerifyKey]:
    """Return a checkpoint and who signed it; raise ``TamperError`` unless a key in force has."""
    try:
        return open_checkpoint(note, ring)
    except Problem as problem:
        raise TamperError(
            "checkpoint-refused", f"{problem}; ask the operator for the key, and compare with an anchor"
        ) from problem


def note_of(text: str, where: str) -> str:
    """Return the checkpoint in a file that somebody names: itself, or the one of a bundle; raise when it holds none."""
    found = _note_in_bundle(text) if text.lstrip().startswith("{") else text
    try:
        parse_checkpoint(split_note(found)[0])
    except Problem as problem:
        message = (
            f"{where} is no checkpoint ({problem}); name a file that `topstitch audit checkpoint -o FILE` wrote, "
            "one that an anchor keeps, or an evidence pack"
        )
        raise RequestError("no-checkpoint-file", message) from problem
    return found


def _note_in_bundle(text: str) -> str:
    try:
        bundle = json.loads(text)
    except ValueError:
        return ""
    return str(bundle.get("checkpoint", ""))


def ring_of(keys: Iterable[VerifyKey], rotations: Iterable[str]) -> Ring:
    """Return the keys that may sign, followed from trusted ones."""
    try:
        return follow_rotations(keys, rotations)
    except Problem as problem:
        raise TamperError("rotation-refused", f"{problem}; compare with the key that was published") from problem
