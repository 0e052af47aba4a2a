"""Decides whether the records of one instance are what was written, and if not, which is the first that is not.

``is_whole`` is the quick answer for what is almost always right; ``examine`` names the first
bad record and the kind of tampering that fits. Both recompute the chain from the exact bytes
that are stored and never write them anew; both compare with the leaves of the tree, which
an attacker cannot change without being seen at its signed root. ``verify`` calls them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

import msgspec
import orjson

from topstitch.audit.tree import HASH_BYTES, TILE_BITS, TILE_WIDTH
from topstitch.foundation.canonical import GENESIS
from topstitch.foundation.timetext import rfc3339
from topstitch.store.ledger import INSTALLATION
from topstitch.store.ledger_reader import StoredRecord
from topstitch.store.sealing import moment

Row = Sequence[Any]
"""Instance, number, text, hash, kind, milliseconds, stage, step, as the ledger reader gives them."""
Expected = Callable[[int], bytes | None]
"""What the tree holds at a leaf; nothing where the tree itself lacks it."""


class Tampering(StrEnum):
    """What somebody seems to have done."""

    EDITED = "edit"
    """A record, or what stands beside it, says something else now."""
    DELETED = "delete"
    """A record is missing from the middle of an instance."""
    INSERTED = "insert"
    """A record stands there that was not written then."""
    REORDERED = "reorder"
    """Records have changed places."""
    TAIL_CUT = "cut-tail"
    """The last records of an instance are missing."""
    INSTANCE_REMOVED = "remove-instance"
    """All records of an instance are missing."""
    BODIES_SWAPPED = "swap-bodies"
    """A record holds the text of another."""
    CHECKPOINT_OLD = "old-checkpoint"
    """The database is in an earlier state than one that is known outside."""
    TREE_FORKED = "forked-tree"
    """The tree is not a continuation of the one that was signed."""
    KEY_WRONG = "wrong-key"
    """A checkpoint is signed by somebody else."""
    TREE_DAMAGED = "damaged-tree"
    """The records are right, and what is derived from them is not."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it was: what fits best, where, and in words."""

    fits: Tampering
    message: str
    instance: str | None = None
    seq: int | None = None
    leaf: int | None = None
    also: tuple[Tampering, ...] = ()
    """What would look the same."""


class Inside(msgspec.Struct, frozen=True):
    """What a record's own text says of it."""

    instance: str
    seq: int
    kind: str
    at: str
    stage: str
    step: str | None


TILE_MASK: Final = TILE_WIDTH - 1
_INSIDE: Final = msgspec.json.Decoder(Inside)


def is_whole(
    instance: str,
    rows: Iterable[Row],
    leaves: Mapping[int, int],
    head: tuple[int, str] | None,
    tile: Callable[[int], bytes],
) -> bool:
    """Tell quickly whether everything about an instance holds. A no may be wrong: ``examine`` has the last word.

    ``tile`` gives the leaf hashes of a tile. It is one function because each call costs a tenth of a record.
    """
    sha, previous, number, hash_hex, placed = sha256, GENESIS, 0, "", len(leaves)
    known, known_number, last_ms, at_text = b"", -1, -1, ""
    beside = f',"instance":"{instance}","kind":"'
    for _, seq, text, hash_hex, kind, at_ms, stage, step in rows:
        number += 1
        if seq != number or text is None:
            return False
        previous = sha(b"\x00" + previous + text.encode()).digest()
        if previous.hex() != hash_hex:
            return False
        own_step = f'"{step}"' if step is not None else "null"
        if not text.endswith(f'{beside}{kind}","seq":{seq},"stage":"{stage}","step":{own_step}}}'):
            return False
        if at_ms != last_ms:
            last_ms, at_text = at_ms, f'"at":"{_time(at_ms)}"'
        if text.find(at_text) != text.find('"at":"'):  # the actor before it holds no bare quotes
            return False
        if seq <= placed:
            leaf = leaves.get(seq, -1)
            if leaf >> TILE_BITS != known_number:
                known_number = leaf >> TILE_BITS
                known = tile(known_number)
            inside = (leaf & TILE_MASK) * HASH_BYTES
            if known[inside : inside + HASH_BYTES] != sha(b"\x00" + previous).digest():
                return False
    if head is None:
        return instance == INSTALLATION and number > 0 and placed <= number
    return number == head[0] and hash_hex == head[1] and placed <= number


def examine(
    instance: str,
    rows: Sequence[Row],
    leaves: Mapping[int, int],
    head: tuple[int, str] | None,
    expected: Expected,
) -> Finding | None:
    """Return the first thing about an instance that does not hold, named; nothing when all does."""
    records = [StoredRecord(*row) for row in rows]
    if not records:
        there = f"{instance} had {max(leaves, default=0) or (head or (0, ''))[0]} records, and none is left"
        return Finding(fits=Tampering.INSTANCE_REMOVED, message=there, instance=instance, seq=1, leaf=leaves.get(1))
    case = _Case(instance, records, leaves, expected)
    previous = GENESIS
    for number, record in enumerate(records, 1):
        finding = case.look(number, record, previous)
        if finding is not None:
            return finding
        previous = bytes.fromhex(record.hash)
    return case.look_behind(head)


class _Case:
    """One instance under examination."""

    def __init__(
        self, instance: str, records: Sequence[StoredRecord], leaves: Mapping[int, int], expected: Expected
    ) -> None:
        self.instance, self.records, self.leaves, self.expected = instance, records, leaves, expected
        self.inside = [_read(record.text) for record in records]

    def look(self, number: int, record: StoredRecord, previous: bytes) -> Finding | None:
        """Look at record ``number``, when all before it hold."""
        if record.seq != number:
            return self._missing(number, record)
        own = sha256(b"\x00" + previous + (record.text or "").encode()).digest()
        known = self._known(number)
        if own.hex() != record.hash:
            return self._broken(number, record, own, known)
        if known is not None and known != sha256(b"\x00" + own).digest():
            return self._rewritten(number)
        inside = self.inside[number - 1]
        if inside is None:
            return self._found(Tampering.EDITED, number, "its text cannot be read")
        if (inside.instance, inside.seq) != (self.instance, number):
            fits = Tampering.BODIES_SWAPPED if inside.instance != self.instance else Tampering.REORDERED
            return self._found(fits, number, f"its text says that it is record {inside.seq} of {inside.instance}")
        beside = (record.kind, _time(record.at_ms), record.stage, record.step)
        if (inside.kind, inside.at, inside.stage, inside.step) != beside:
            return self._found(Tampering.EDITED, number, "the columns beside its text say something else than the text")
        return None

    def look_behind(self, head: tuple[int, str] | None) -> Finding | None:
        """Look at what should follow the last record, when all records hold."""
        count, placed = len(self.records), max(self.leaves, default=0)
        should = max(placed, head[0] if head else 0)
        if count < should:
            return self._found(
                Tampering.TAIL_CUT, count + 1, f"this and the records up to {should} are missing from the end"
            )
        if len(self.leaves) != placed:
            seq = next(number for number in range(1, placed + 1) if number not in self.leaves)
            return self._found(
                Tampering.TREE_DAMAGED, seq, "the record is right, and its place in the tree is not kept any more"
            )
        if head is None:
            if self.instance == INSTALLATION:
                return None
            return self._found(
                Tampering.INSTANCE_REMOVED,
                1,
                "the instance is missing from the list of instances; its records are there",
            )
        if count > head[0]:
            return self._found(Tampering.INSERTED, head[0] + 1, f"the instance was written up to record {head[0]} only")
        if self.records[-1].hash != head[1]:
            return self._found(Tampering.EDITED, count, "the list of instances names another last record")
        return None

    def _missing(self, number: int, record: StoredRecord) -> Finding:
        if record.seq < number:
            return self._found(Tampering.INSERTED, record.seq, "there are records of this number before the first")
        return self._found(Tampering.DELETED, number, f"it is missing, record {record.seq} is there")

    def _rewritten(self, number: int) -> Finding:
        """A record and the chain after it fit each other, and not the tree."""
        count, placed = len(self.records), len(self.leaves)
        fits = Tampering.EDITED
        if count != placed:
            fits = Tampering.INSERTED if count > placed else Tampering.DELETED
        said = "it is not what the tree holds, and the chain was made to fit it"
        also = tuple(kind for kind in (Tampering.EDITED, Tampering.DELETED, Tampering.INSERTED) if kind != fits)
        return self._found(fits, number, said, also)

    def _broken(self, number: int, record: StoredRecord, own: bytes, known: bytes | None) -> Finding:
        """The text of a record does not give its hash."""
        inside = self.inside[number - 1]
        if known is not None and known == sha256(b"\x00" + own).digest():
            return self._found(Tampering.EDITED, number, "its text is right, its hash was changed")
        if inside is None:
            return self._found(Tampering.EDITED, number, "its text does not give its hash, and cannot be read")
        if inside.instance != self.instance:
            said = f"it holds the text of record {inside.seq} of {inside.instance}"
            return self._found(Tampering.BODIES_SWAPPED, number, said)
        if inside.seq == number:
            return self._same_number(number)
        return self._other_number(number, record, inside.seq)

    def _same_number(self, number: int) -> Finding:
        behind = self.inside[number] if number < len(self.inside) else None
        if behind is not None and behind.instance == self.instance and behind.seq == number:
            return self._found(Tampering.INSERTED, number, "the record behind it says that it has this number")
        return self._found(Tampering.EDITED, number, "its text does not give its hash")

    def _other_number(self, number: int, record: StoredRecord, said: int) -> Finding:
        numbers = [inside.seq for inside in self.inside if inside is not None and inside.instance == self.instance]
        if number in numbers and said in range(1, len(self.records) + 1) and numbers.count(said) == 1:
            if self._moved_whole(record):
                return self._found(Tampering.REORDERED, number, f"what stands here was written as record {said}")
            return self._found(Tampering.BODIES_SWAPPED, number, f"it holds the text of record {said}")
        if said > number and number not in numbers:
            return self._found(Tampering.DELETED, number, f"it is missing, and record {said} was put in its place")
        if said < number:
            return self._found(Tampering.INSERTED, said, f"record {number} says that it has this number too")
        return self._found(
            Tampering.REORDERED, number, f"what stands here was written as record {said}", (Tampering.EDITED,)
        )

    def _moved_whole(self, record: StoredRecord) -> bool:
        """Whether a text stands beside its own hash, behind whichever record it was written."""
        text = record.text.encode()
        behind = [GENESIS, *(bytes.fromhex(other.hash) for other in self.records if _is_hex(other.hash))]
        return any(sha256(b"\x00" + one + text).hexdigest() == record.hash for one in behind)

    def _known(self, number: int) -> bytes | None:
        leaf = self.leaves.get(number)
        return None if leaf is None else self.expected(leaf)

    def _found(self, fits: Tampering, seq: int, said: str, also: tuple[Tampering, ...] = ()) -> Finding:
        message = f"record {seq} of {self.instance}: {said}"
        return Finding(
            fits=fits, message=message, instance=self.instance, seq=seq, leaf=self.leaves.get(seq), also=also
        )


def _read(text: str | None) -> Inside | None:
    try:
        return _INSIDE.decode(text or "")
    except (msgspec.MsgspecError, orjson.JSONDecodeError):
        return None


def _is_hex(text: str) -> bool:
    try:
        return len(bytes.fromhex(text)) == len(GENESIS)
    except ValueError:
        return False


@lru_cache(maxsize=4096)
def _time(at_ms: int) -> str:
    return rfc3339(moment(at_ms))
