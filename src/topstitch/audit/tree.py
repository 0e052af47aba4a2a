"""Decides what the Merkle tree over all records is: RFC 6962 hashes, kept in tiles of 256.

A leaf is the chain hash of a record. A tile of level 0 holds leaf hashes, a tile of level n
holds the roots of whole tiles of level n-1, as in C2SP ``tlog-tiles``; from them any root,
inclusion proof or consistency proof is a few reads. The sequencer grows the tree, ``verify``
and ``prove`` read it. Everything here is pure: tiles come in through ``read`` and go out as values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

HASH_BYTES: Final = 32
TILE_BITS: Final = 8
TILE_WIDTH: Final = 1 << TILE_BITS
TILE_BYTES: Final = TILE_WIDTH * HASH_BYTES
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

Place = tuple[int, int]
"""Level and number of a tile."""
ReadTile = Callable[[int, int], bytes]
"""Returns the hashes of a tile, at least as many as are asked about, or raises ``LookupError``."""


def leaf_hash(record_hash: bytes) -> bytes:
    """Return the leaf of a record: SHA-256(0x00 || chain hash)."""
    return hashlib.sha256(b"\x00" + record_hash).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the parent of two nodes: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def grow(size: int, edge: Mapping[Place, bytes], added: Sequence[bytes]) -> dict[Place, bytes]:
    """Return the tiles that change when leaf hashes are ``added`` to a tree of ``size``.

    ``edge`` holds the unfinished tiles that ``edge_of(size)`` names.
    """
    changed: dict[Place, bytes] = {}
    level, entries = 0, list(added)
    while entries:
        count = size >> (TILE_BITS * level)
        number, inside = divmod(count, TILE_WIDTH)
        data = edge[level, number] if inside else b""
        data = data[: inside * HASH_BYTES] + b"".join(entries)
        entries = []
        while len(data) >= TILE_BYTES:
            changed[level, number] = data[:TILE_BYTES]
            entries.append(tile_root(data[:TILE_BYTES]))
            data, number = data[TILE_BYTES:], number + 1
        if data:
            changed[level, number] = data
        level += 1
    return changed


def edge_of(size: int) -> list[Place]:
    """Return the unfinished tile of every level of a tree of ``size``."""
    places, level = [], 0
    while count := size >> (TILE_BITS * level):
        if count % TILE_WIDTH:
            places.append((level, count // TILE_WIDTH))
        level += 1
    return places


def tile_root(data: bytes) -> bytes:
    """Return the root over a power of two of hashes."""
    sha256 = hashlib.sha256
    while len(data) > HASH_BYTES:
        data = b"".join([sha256(b"\x01" + data[at : at + 64]).digest() for at in range(0, len(data), 64)])
    return data


def root(size: int, read: ReadTile) -> bytes:
    """Return the root of the tree as it was at ``size``."""
    return _range(0, size, read) if size else EMPTY_ROOT


def inclusion(leaf: int, size: int, read: ReadTile) -> list[bytes]:
    """Return the proof that ``leaf`` is in the tree of ``size``, from the leaf up (RFC 6962, 2.1.1)."""
    if not 0 <= leaf < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {leaf}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if leaf < middle:
            path.append(_range(middle, end, read))
            end = middle
        else:
            path.append(_range(start, middle, read))
            start = middle
    return path[::-1]


def consistency(old: int, new: int, read: ReadTile) -> list[bytes]:
    """Return the proof that the tree of size ``new`` continues the one of ``old`` (RFC 6962, 2.1.2)."""
    if not 0 < old <= new:
        raise ValueError(f"a tree of {new} leaves does not continue one of {old}")
    return _subproof(old, 0, new, read, whole=True)


def _subproof(old: int, start: int, end: int, read: ReadTile, *, whole: bool) -> list[bytes]:
    if old == end:
        return [] if whole else [_range(start, end, read)]
    middle = start + _split(end - start)
    if old <= middle:
        return [*_subproof(old, start, middle, read, whole=whole), _range(middle, end, read)]
    return [*_subproof(old, middle, end, read, whole=False), _range(start, middle, read)]


def _range(start: int, end: int, read: ReadTile) -> bytes:
    """Return the root over leaves ``start`` to ``end``; ``start`` is aligned, as RFC 6962 splits."""
    count = end - start
    if count & (count - 1) == 0:
        height = count.bit_length() - 1
        return _node(height, start >> height, read)
    middle = start + _split(count)
    return node_hash(_range(start, middle, read), _range(middle, end, read))


def _node(height: int, index: int, read: ReadTile) -> bytes:
    """Return the root of the whole subtree number ``index`` among those of ``height``."""
    level, rest = divmod(height, TILE_BITS)
    first = index << rest
    number, inside = divmod(first, TILE_WIDTH)
    data = read(level, number)[inside * HASH_BYTES : (inside + (1 << rest)) * HASH_BYTES]
    if len(data) != HASH_BYTES << rest:
        raise LookupError(f"tile {number} of level {level} ends too early")
    return tile_root(data)


def _split(count: int) -> int:
    """Return the largest power of two below ``count``."""
    return 1 << ((count - 1).bit_length() - 1)
