"""Decides whether one checkpoint continues another: what an auditor asks who kept an old one.

``prove_consistency`` makes the proof from the tree, ``check`` needs only the two notes, the
keys and the proof. A tree that was forked or rewritten between the two has no such proof.
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from topstitch.audit import tree
from topstitch.audit.check_bundle import Checkpoint, Problem, Ring, check_consistency
from topstitch.audit.checkpoint import read_checkpoint
from topstitch.foundation.errors import TamperError
from topstitch.store.ledger_reader import LedgerReader


class Continuation(msgspec.Struct, frozen=True):
    """Two checkpoints, and the proof that the newer continues the older."""

    old: Checkpoint
    new: Checkpoint
    proof: tuple[bytes, ...]

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        proof = [base64.b64encode(one).decode() for one in self.proof]
        return {"origin": self.new.origin, "old_size": self.old.size, "new_size": self.new.size, "proof": proof}


def consistency(reader: LedgerReader, old_note: str, new_note: str | None, ring: Ring) -> Continuation:
    """Prove that a checkpoint (the newest kept here, unless named) continues an older; raise ``TamperError`` if not."""
    old, _ = read_checkpoint(old_note, ring)
    newest = reader.newest_checkpoint()
    if new_note is None and newest is None:
        raise TamperError(
            "no-checkpoint", "there is no checkpoint here although one was handed out; compare with a backup"
        )
    new, _ = read_checkpoint(new_note or (newest.note if newest else ""), ring)
    try:
        proof = tree.consistency(old.size, new.size, reader.tile) if 0 < old.size <= new.size else []
    except LookupError as error:
        raise TamperError(
            "tree-cut", f"the tree here is smaller than that checkpoint ({error}); run `topstitch audit verify`"
        ) from error
    continuation = Continuation(old, new, tuple(proof))
    check(continuation)
    return continuation


def check(continuation: Continuation) -> None:
    """Raise ``TamperError`` unless the proof holds and both are of one origin."""
    old, new = continuation.old, continuation.new
    try:
        if old.origin != new.origin:
            raise Problem(f"the checkpoints are of two installations, {old.origin} and {new.origin}")
        check_consistency(old, new, continuation.proof)
    except Problem as problem:
        raise TamperError(
            "not-a-continuation", f"{problem}; run `topstitch audit verify` and compare with an anchor"
        ) from problem
