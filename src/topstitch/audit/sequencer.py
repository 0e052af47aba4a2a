"""Decides when records are given their places in the tree and when its root is signed.

One sequencer per installation at a time (a lock in the database sees to that): every turn
places what has been committed; a checkpoint follows after ten seconds or a thousand leaves,
and goes to the anchors every ten minutes. Whoever carries instances on is never waited for.
It decides no content: records are placed as they were committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from topstitch.audit import tree
from topstitch.audit.anchors import Anchor, anchor_newest
from topstitch.audit.check_bundle import VerifyKey
from topstitch.audit.checkpoint import KEY_ROTATED, Signer, rotation_note, sign_tree
from topstitch.foundation.clock import Clock
from topstitch.foundation.errors import OperatorError, TopstitchError
from topstitch.model.record import Actor, Draft, Stage
from topstitch.store import Store, ledger

BATCH: Final = 256
"""Leaves per transaction: short enough that nobody's commit waits for it noticeably."""
BATCHES_MAX: Final = 64
CHECKPOINT_LEAVES: Final = 1_000
CHECKPOINT_SECONDS: Final = 10
ANCHOR_SECONDS: Final = 600
TURN_SECONDS: Final = 1.0


class Turn(msgspec.Struct, frozen=True):
    """What one turn did."""

    placed: int
    size: int
    signed: ledger.Signed | None = None
    anchored: Sequence[ledger.Anchoring] = ()


class Sequencer:
    """Places, signs and anchors for one installation."""

    def __init__(self, store: Store, signer: Signer, clock: Clock, anchors: Sequence[Anchor] = ()) -> None:
        self._store, self._signer, self._clock, self._anchors = store, signer, clock, anchors
        self._signed_at: datetime | None = None
        self._signed_size = 0
        self._anchored_at: datetime | None = None
        self.trouble: TopstitchError | None = None
        """Why the last turn of ``run`` failed; the next one tries again."""

    @property
    def key(self) -> VerifyKey:
        """The public key of what it signs."""
        return self._signer.key

    async def run(self, stop: asyncio.Event) -> None:
        """Take turns until ``stop`` is set; the last one signs and anchors what is there."""
        while not stop.is_set():
            try:
                await self.turn()
                self.trouble = None
            except TopstitchError as error:
                self.trouble = error
            later = self._clock.now() + timedelta(seconds=TURN_SECONDS)
            waits = [asyncio.ensure_future(self._clock.sleep_until(later)), asyncio.ensure_future(stop.wait())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
        await self.turn(now_too=True)

    async def turn(self, *, now_too: bool = False) -> Turn:
        """Place what there is; sign and anchor if it is time, or at once with ``now_too``."""
        placed, size = await self.place()
        now = self._clock.now()
        signed = await self.sign() if now_too or self._is_due(now, size) else None
        anchored: Sequence[ledger.Anchoring] = ()
        if self._anchors and (now_too or self._anchored_at is None or _since(self._anchored_at, now) >= ANCHOR_SECONDS):
            self._anchored_at = now
            anchored = await anchor_newest(self._store, self._anchors, now)
        return Turn(placed, size, signed, anchored)

    async def place(self) -> tuple[int, int]:
        """Give committed records their places; return how many, and the size of the tree."""
        placed = 0
        for _ in range(BATCHES_MAX):
            done = await ledger.sequence(self._store, BATCH, _grow)
            placed += done.placed
            if done.placed < BATCH:
                break
        return placed, done.size

    async def sign(self, *, anew: bool = False) -> ledger.Signed | None:
        """Sign the tree as it is, if it has grown."""
        now = self._clock.now()
        signer = self._signer
        signed = await ledger.seal_tree(self._store, lambda size, read: sign_tree(signer, size, read), now, anew=anew)
        self._signed_at = now
        if signed is not None:
            self._signed_size = signed.size
        return signed

    async def rotate(self, new: Signer, actor: Actor) -> ledger.Signed | None:
        """Hand over to a new key of the same origin: a note by both goes into the journal, then the new key signs."""
        if new.key.name != self._signer.key.name:
            raise OperatorError(
                "key-of-another-origin",
                f"the new key is for {new.key.name}, this installation is {self._signer.key.name}; "
                "make one for the same origin",
            )
        await self.place()
        await self.sign()
        size = await ledger.tree_size(self._store)
        body = {"note": rotation_note(self._signer, new, size), "old": str(self._signer.key), "new": str(new.key)}
        draft = Draft(kind=KEY_ROTATED, at=self._clock.now(), actor=actor, stage=Stage.AUDIT, body=body)
        await ledger.note_down(self._store, draft)
        self._signer = new
        await self.place()
        return await self.sign(anew=True)

    def _is_due(self, now: datetime, size: int) -> bool:
        if self._signed_at is None or size - self._signed_size >= CHECKPOINT_LEAVES:
            return True
        return _since(self._signed_at, now) >= CHECKPOINT_SECONDS


def _grow(size: int, edge: Mapping[tree.Place, bytes], hashes: Sequence[bytes]) -> dict[tree.Place, bytes]:
    return tree.grow(size, edge, [tree.leaf_hash(one) for one in hashes])


def _since(earlier: datetime, now: datetime) -> float:
    return (now - earlier).total_seconds()
