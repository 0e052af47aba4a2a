"""Decides whether the whole trail holds: chains, tree, signatures, anchors; and if not, what was done to it.

The command line, the API and the console call ``verify`` with a ledger reader and the public
keys that they trust. Records are compared with the tree, the tree with the newest signed
checkpoint, checkpoints with what anchors hold. The result is a value: findings, the first
bad record, how far trust reaches. It changes nothing and repairs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from enum import StrEnum
from itertools import chain, groupby
from multiprocessing import get_context
from operator import itemgetter
from typing import Any, Final

import msgspec

from topstitch.audit import tree
from topstitch.audit.chain import Finding, Row, Tampering, examine, is_whole
from topstitch.audit.check_bundle import Checkpoint, Ring, VerifyKey
from topstitch.audit.checkpoint import KEY_ROTATED, read_checkpoint, ring_of
from topstitch.foundation.clock import stopwatch
from topstitch.foundation.errors import TamperError
from topstitch.store.ledger import INSTALLATION, Signed
from topstitch.store.ledger_reader import LedgerReader, Span, open_ledger

EXIT_WHOLE: Final = 0
EXIT_TAMPERED: Final = 20
FINDINGS_MAX: Final = 100
"""More are counted, not described: after a few the picture is clear."""
ROOTS_MAX: Final = 256
"""Of older checkpoints, so many are compared with the tree, spread evenly, besides the newest."""
TILES_KEPT: Final = 4_096
TILES_TOGETHER: Final = 256
PROCESSES_FROM_RECORDS: Final = 300_000
"""Below, starting other processes takes longer than it saves."""
Run = tuple[int, int, int]
"""Level, first tile, and the one after the last."""
_NO_ANCHORS: Final[Mapping[str, Sequence[str]]] = {}


class Trust(StrEnum):
    """How far the answer reaches."""

    UNSIGNED = "unsigned"
    """No checkpoint has been signed yet: only the chains speak."""
    SELF_ATTESTED = "self-attested"
    """Signed by this installation and compared with nothing outside it."""
    ANCHORED = "anchored"
    """A checkpoint outside agrees."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What verification found."""

    findings: tuple[Finding, ...]
    trust: Trust
    records: int
    instances: int
    checkpoint: Checkpoint | None
    key: VerifyKey | None
    anchored_size: int
    """The largest size of the tree that a checkpoint outside agrees with."""
    unsigned: int
    """Records that no checkpoint covers yet."""
    seconds: float

    @property
    def whole(self) -> bool:
        """Whether everything holds."""
        return not self.findings

    @property
    def first(self) -> Finding | None:
        """The first bad record, or the first other finding."""
        return min(self.findings, key=_rank, default=None)

    @property
    def exit_code(self) -> int:
        """What ``topstitch audit verify`` ends with."""
        return EXIT_WHOLE if self.whole else EXIT_TAMPERED

    def lines(self) -> list[str]:
        """Return the verdict as sentences."""
        if self.first is not None:
            more = [f"and {len(self.findings) - 1} more findings"] if len(self.findings) > 1 else []
            also = f" (or {', '.join(self.first.also)})" if self.first.also else ""
            return [f"TAMPERED, {self.first.fits}{also}: {self.first.message}", *more]
        signed = f"signed by {self.key.name}+{self.key.key_id.hex()}" if self.key else "not signed yet"
        reach = {
            Trust.UNSIGNED: "no checkpoint has been signed yet",
            Trust.SELF_ATTESTED: "self-attested: no anchor outside this installation was compared",
            Trust.ANCHORED: f"anchored up to {self.anchored_size} leaves",
        }[self.trust]
        size = self.checkpoint.size if self.checkpoint else 0
        return [
            f"WHOLE: {self.records} records of {self.instances} instances, tree of {size} leaves, {signed}",
            f"{reach}; {self.unsigned} newest records are in no checkpoint yet",
        ]


def verify(
    reader: LedgerReader,
    *,
    keys: Sequence[VerifyKey],
    anchors: Mapping[str, Sequence[str]] = _NO_ANCHORS,
    processes: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Verdict:
    """Verify everything. ``anchors`` are checkpoints kept outside, by the name of where; an auditor's own is one.

    ``processes`` processes share the work where the database is large and can be opened by others.
    """
    began = stopwatch()
    findings: list[Finding] = []
    ring = _ring(reader, keys, findings)
    signed = _signed(reader, ring, findings)
    newest = signed[-1] if signed else None
    covered = newest[1].size if newest else 0
    cache = _Tiles(reader)
    findings += _roots(reader, cache, [checkpoint for _, checkpoint, _ in signed])
    anchored = _anchored(cache, ring, covered, anchors, findings)
    records, placed, below = reader.counts(covered)
    spread = processes if reader.shareable and records >= PROCESSES_FROM_RECORDS else 1
    looked = _look(reader, spread, progress)
    findings += looked.findings
    findings += _unplaced(reader, covered, below, findings)
    return Verdict(
        findings=tuple(findings[:FINDINGS_MAX]),
        trust=Trust.UNSIGNED if newest is None else Trust.ANCHORED if anchored else Trust.SELF_ATTESTED,
        records=looked.records,
        instances=looked.instances,
        checkpoint=newest[1] if newest else None,
        key=newest[2] if newest else None,
        anchored_size=anchored,
        unsigned=max(records - min(covered, placed), 0),
        seconds=stopwatch() - began,
    )


def _rank(finding: Finding) -> tuple[int, float, int]:
    named = 0 if finding.seq is not None and finding.fits is not Tampering.TREE_DAMAGED else 1
    return named, finding.leaf if finding.leaf is not None else float("inf"), finding.seq or 0


# --- Signatures and anchors -------------------------------------------------------------------


def _ring(reader: LedgerReader, keys: Sequence[VerifyKey], findings: list[Finding]) -> Ring:
    notes = [str(body.get("note")) for body in reader.installation_bodies(KEY_ROTATED)]
    try:
        return ring_of(keys, notes)
    except TamperError as error:
        findings.append(Finding(fits=Tampering.KEY_WRONG, message=error.message))
        return ring_of(keys, ())


def _signed(reader: LedgerReader, ring: Ring, findings: list[Finding]) -> list[tuple[Signed, Checkpoint, VerifyKey]]:
    """Return the checkpoints that hold by themselves, oldest first: all near the end, some of those before."""
    count, last = reader.checkpoint_count()
    if count != last:
        said = f"{last - count} of {last} checkpoints are missing"
        findings.append(Finding(fits=Tampering.CHECKPOINT_OLD, message=said))
    good: list[tuple[Signed, Checkpoint, VerifyKey]] = []
    for one in reader.checkpoints(ROOTS_MAX, ROOTS_MAX):
        try:
            checkpoint, key = read_checkpoint(one.note, ring)
        except TamperError as error:
            findings.append(Finding(fits=Tampering.KEY_WRONG, message=f"checkpoint {one.number}: {error.message}"))
            continue
        if checkpoint.size != one.size or (good and checkpoint.size < good[-1][1].size):
            said = f"checkpoint {one.number} is for {checkpoint.size} leaves and stands where one of {one.size} should"
            findings.append(Finding(fits=Tampering.CHECKPOINT_OLD, message=said))
            continue
        good.append((one, checkpoint, key))
    return good


def _roots(reader: LedgerReader, tiles: _Tiles, checkpoints: Sequence[Checkpoint]) -> list[Finding]:
    """Compare signed roots with the tree; name the first at which it parts from them."""
    held = 0
    for checkpoint in checkpoints:
        try:
            own: bytes | None = tree.root(checkpoint.size, tiles.read)
        except LookupError:
            own = None
        if own != checkpoint.root:
            return [_parted(reader, held, checkpoint)]
        held = checkpoint.size
    return []


def _parted(reader: LedgerReader, held: int, checkpoint: Checkpoint) -> Finding:
    """Say why the tree is not the signed one: cut, derived data damaged, or rewritten."""
    _, placed, _ = reader.counts(checkpoint.size)
    if placed < checkpoint.size and reader.size() < checkpoint.size:
        said = f"the signed tree has {checkpoint.size} leaves, {placed} are left: the newest records are missing"
        return Finding(fits=Tampering.TAIL_CUT, message=said, leaf=placed, also=(Tampering.INSTANCE_REMOVED,))
    if _root_of_records(reader, checkpoint.size) == checkpoint.root:
        said = "the tiles of the tree are damaged; the records give the signed root: rebuild the tiles from them"
        return Finding(fits=Tampering.TREE_DAMAGED, message=said)
    there = reader.instance_at(held)
    first = f", record {there[1]} of {there[0]}," if there else ""
    said = (
        f"the tree is not the one that was signed: it holds up to leaf {held}, and from there{first} to leaf "
        f"{checkpoint.size - 1} something was rewritten together with the tree"
    )
    return Finding(fits=Tampering.TREE_FORKED, message=said, leaf=held)


def _root_of_records(reader: LedgerReader, size: int) -> bytes | None:
    """Return the root that the records themselves give, or nothing when some are missing."""
    hashes: dict[int, bytes] = {}
    for span in reader.spans():
        leaves = reader.leaves(span)
        for rows in reader.journal(span):
            for row in rows:
                leaf = leaves.get(row[0], {}).get(row[1])
                if leaf is not None and leaf < size and _is_hash(row[3]):
                    hashes[leaf] = tree.leaf_hash(bytes.fromhex(row[3]))
    if len(hashes) != size:
        return None
    tiles = tree.grow(0, {}, [hashes[leaf] for leaf in range(size)])
    return tree.root(size, lambda level, number: tiles[level, number])


def _anchored(
    tiles: _Tiles, ring: Ring, covered: int, anchors: Mapping[str, Sequence[str]], findings: list[Finding]
) -> int:
    """Compare with what is kept outside; return the largest size that agrees."""
    agreed = 0
    for name, notes in anchors.items():
        for note in notes:
            try:
                outside, _ = read_checkpoint(note, ring)
                agreed = max(agreed, _agrees(name, outside, covered, tiles))
            except _Disagrees as error:
                findings.append(error.finding)
                break
            except TamperError as error:
                findings.append(Finding(fits=Tampering.KEY_WRONG, message=f"anchor {name}: {error.message}"))
                break
    return agreed


class _Disagrees(Exception):  # noqa: N818 -- a signal inside this file
    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def _agrees(name: str, outside: Checkpoint, covered: int, tiles: _Tiles) -> int:
    if outside.size > covered:
        said = f"anchor {name} holds {outside.size} leaves, the database only {covered}: it was put back"
        raise _Disagrees(Finding(fits=Tampering.CHECKPOINT_OLD, message=said, leaf=covered))
    try:
        same = tree.root(outside.size, tiles.read) == outside.root
    except LookupError:
        same = False
    if not same:
        said = f"anchor {name} holds another root for {outside.size} leaves than the tree here: it was rewritten"
        raise _Disagrees(Finding(fits=Tampering.TREE_FORKED, message=said, leaf=outside.size - 1))
    return outside.size


def _unplaced(reader: LedgerReader, covered: int, below: int, findings: Sequence[Finding]) -> list[Finding]:
    """Name leaves of the signed tree that no record has any more, unless a finding tells already."""
    if below >= covered or any(finding.fits is Tampering.TAIL_CUT for finding in findings):
        return []
    return [
        Finding(
            fits=Tampering.INSTANCE_REMOVED,
            message=f"leaves {first} to {end - 1} of the signed tree: their records are missing, and so is which",
            leaf=first,
            also=(Tampering.TAIL_CUT, Tampering.DELETED),
        )
        for first, end in reader.gaps(covered, 10)
    ]


# --- Records and tiles ------------------------------------------------------------------------


class _Looked(msgspec.Struct):
    """What looking at records and tiles gave, adding up."""

    findings: list[Finding]
    records: int = 0
    instances: int = 0

    def add(self, other: _Looked) -> None:
        self.findings = (self.findings + other.findings)[:FINDINGS_MAX]
        self.records += other.records
        self.instances += other.instances


def _look(reader: LedgerReader, processes: int, progress: Callable[[int], None] | None) -> _Looked:
    """Look at every span of records and every whole tile, here or in ``processes`` processes."""
    looked = _Looked([])
    for part in _parts(reader, processes, reader.spans(), _tile_runs(reader.size())):
        looked.add(part)
        if progress is not None:
            progress(looked.records)
    return looked


def _tile_runs(size: int) -> list[Run]:
    """Return all whole tiles of every level, in runs."""
    runs: list[Run] = []
    level = 0
    while whole := size >> tree.TILE_BITS * (level + 1):
        runs += [(level, first, min(first + TILES_TOGETHER, whole)) for first in range(0, whole, TILES_TOGETHER)]
        level += 1
    return runs


def _parts(reader: LedgerReader, processes: int, spans: Sequence[Span], runs: Sequence[Run]) -> Iterator[_Looked]:
    if processes <= 1:
        tiles = _Tiles(reader)
        for run in runs:
            yield _Looked(_tile_findings(reader, *run))
        for span in spans:
            yield _look_at_span(reader, span, tiles)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        work = [pool.submit(_elsewhere, reader.url, spans[n::processes], runs[n::processes]) for n in range(processes)]
        for done in work:
            yield done.result()


def _elsewhere(url: str, spans: Sequence[Span], runs: Sequence[Run]) -> _Looked:
    """Do one process's share."""
    looked = _Looked([])
    with open_ledger(url) as reader:
        for part in _parts(reader, 1, spans, runs):
            looked.add(part)
    return looked


def _look_at_span(reader: LedgerReader, span: Span, tiles: _Tiles) -> _Looked:
    leaves, heads = reader.leaves(span), reader.heads(span)
    looked = _Looked([])
    for instance, rows in _by_instance(reader.journal(span)):
        placed, head = leaves.pop(instance, {}), heads.pop(instance, None)
        looked.records += len(rows)
        looked.instances += instance != INSTALLATION
        if not is_whole(instance, rows, placed, head, tiles.leaves):
            finding = examine(instance, rows, placed, head, tiles.leaf)
            if finding is not None and len(looked.findings) < FINDINGS_MAX:
                looked.findings.append(finding)
    for instance in {**leaves, **heads}:
        finding = examine(instance, (), leaves.get(instance, {}), heads.get(instance), tiles.leaf)
        if finding is not None and len(looked.findings) < FINDINGS_MAX:
            looked.findings.append(finding)
    return looked


def _by_instance(batches: Iterator[list[tuple[Any, ...]]]) -> Iterator[tuple[str, list[Row]]]:
    """Put the rows of one instance together."""
    for instance, rows in groupby(chain.from_iterable(batches), key=itemgetter(0)):
        yield instance, list(rows)


def _tile_findings(reader: LedgerReader, level: int, first: int, end: int) -> list[Finding]:
    """See that each whole tile of a level gives its node one level up."""
    above: dict[int, bytes] = {}
    bad = []
    seen = first
    for number, data in reader.tiles(level, first, end):
        parent, inside = divmod(number, tree.TILE_WIDTH)
        if parent not in above:
            above[parent] = next((tile for _, tile in reader.tiles(level + 1, parent, parent + 1)), b"")
        at = inside * tree.HASH_BYTES
        if len(data) != tree.TILE_BYTES or tree.tile_root(data) != above[parent][at : at + tree.HASH_BYTES]:
            bad.append(_bad_tile(level, number))
        seen += 1
    return bad if seen == end else [*bad, _bad_tile(level, first)]


def _bad_tile(level: int, number: int) -> Finding:
    said = f"tile {number} of level {level} of the tree is damaged or missing"
    return Finding(fits=Tampering.TREE_DAMAGED, message=said, leaf=number << tree.TILE_BITS * (level + 1))


class _Tiles:
    """Reads tiles and keeps a few thousand."""

    def __init__(self, reader: LedgerReader) -> None:
        self._reader = reader
        self._kept: dict[tree.Place, bytes] = {}

    def read(self, level: int, number: int) -> bytes:
        place = (level, number)
        if place not in self._kept:
            if len(self._kept) >= TILES_KEPT:
                self._kept.clear()
            self._kept[place] = self._reader.tile(level, number)
        return self._kept[place]

    def leaves(self, number: int) -> bytes:
        """Return the leaf hashes of a tile; none when the tree lacks it."""
        try:
            return self._kept.get((0, number)) or self.read(0, number)
        except LookupError:
            return b""

    def leaf(self, leaf: int) -> bytes | None:
        """Return the hash at a leaf, or nothing when the tree lacks it."""
        number, inside = divmod(leaf, tree.TILE_WIDTH)
        return self.leaves(number)[inside * 32 : inside * 32 + 32] or None


def _is_hash(text: object) -> bool:
    try:
        return isinstance(text, str) and len(bytes.fromhex(text)) == tree.HASH_BYTES
    except ValueError:
        return False
