"""The tree gives the roots and proofs of RFC 6962, held against its text written out plainly, and against pymerkle."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given, strategies as st
from pymerkle import InmemoryTree, verify_inclusion

from topstitch.audit import tree
from topstitch.audit.check_bundle import Checkpoint, Problem, check_consistency, inclusion_root

SIZES = (1, 2, 3, 7, 8, 255, 256, 257, 300, 511, 512, 513)


def plain_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + plain_root(leaves[:k]) + plain_root(leaves[k:])).digest()


def leaf(number: int) -> bytes:
    return tree.leaf_hash(number.to_bytes(32, "big"))


def grown(size: int, steps: Sequence[int] = ()) -> dict[tree.Place, bytes]:
    """Grow a tree in steps, keeping tiles as the database does."""
    tiles: dict[tree.Place, bytes] = {}
    at = 0
    for wanted in (*steps, size):
        step = min(wanted, size - at)
        edge = {place: tiles[place] for place in tree.edge_of(at)}
        tiles |= tree.grow(at, edge, [leaf(number) for number in range(at, at + step)])
        at += step
    return tiles


def reader(tiles: dict[tree.Place, bytes]) -> tree.ReadTile:
    return lambda level, number: tiles[level, number]


@pytest.mark.parametrize("size", SIZES)
def test_roots_are_those_of_the_plain_definition(size: int) -> None:
    assert tree.root(size, reader(grown(size))) == plain_root([leaf(number) for number in range(size)])


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert tree.root(0, reader({})) == hashlib.sha256(b"").digest()


@given(steps=st.lists(st.integers(1, 400), min_size=1, max_size=6))
def test_growing_in_any_steps_gives_the_same_tiles(steps: list[int]) -> None:
    size = sum(steps)
    assert grown(size, steps) == grown(size)


def test_a_tree_of_three_levels_has_the_right_root() -> None:
    size = 256 * 256 + 300
    leaves = [leaf(number) for number in range(size)]
    tiles = tree.grow(0, {}, leaves)
    assert {level for level, _ in tiles} == {0, 1, 2}
    assert tree.root(size, reader(tiles)) == plain_root(leaves)


@given(st.data())
def test_every_leaf_is_proved_and_no_other(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 700))
    number = data.draw(st.integers(0, size - 1))
    read = reader(grown(size))
    proof, root = tree.inclusion(number, size, read), tree.root(size, read)
    assert inclusion_root(leaf(number), number, size, proof) == root
    assert inclusion_root(leaf(number + 1), number, size, proof) != root
    if size > 1:
        wrong = (number + 1) % size
        with contextlib.suppress(Problem):  # the proof may not even have that leaf's length
            assert inclusion_root(leaf(number), wrong, size, proof) != root


@given(st.data())
def test_a_later_tree_proves_that_it_continues_an_earlier_one(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, 700))
    old = data.draw(st.integers(1, new))
    read = reader(grown(new))
    earlier, later = Checkpoint("o", old, tree.root(old, read)), Checkpoint("o", new, tree.root(new, read))
    proof = tree.consistency(old, new, read)
    check_consistency(earlier, later, proof)
    forked = Checkpoint("o", old, hashlib.sha256(earlier.root).digest())
    with pytest.raises(Problem, match="forked"):
        check_consistency(forked, later, proof)


@pytest.mark.parametrize("size", SIZES)
def test_pymerkle_gives_the_same_roots_and_accepts_the_same_proofs(size: int) -> None:
    other = InmemoryTree(algorithm="sha256")
    for number in range(size):
        other.append_entry(number.to_bytes(32, "big"))
    read = reader(grown(size))
    assert other.get_root() == tree.root(size, read)
    half = max(size // 2, 1)
    assert other.get_root(half) == tree.root(half, read)
    proof = other.prove_inclusion(half, size)  # it counts from 1
    verify_inclusion(leaf(half - 1), tree.root(size, read), proof)
    theirs = [bytes.fromhex(one) for one in proof.serialize()["path"]]
    assert [one for one in theirs if one != leaf(half - 1)] == tree.inclusion(half - 1, size, read)
