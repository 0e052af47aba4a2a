"""Each way of tampering is found and named, on both databases; and at many places, on one."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from support.trail import Attacker, Trail, trail_in_memory
from topstitch.audit.chain import Tampering
from topstitch.audit.checkpoint import (
    SigningKey,
    checkpoint_text,
    new_signing_key,
    read_checkpoint,
    ring_of,
    sign_tree,
    signed_note,
)
from topstitch.audit.verify import Trust, verify
from topstitch.store.erasing import scrub
from topstitch.store.ledger_reader import open_ledger

Attack = Callable[[Attacker, str, str, int], None]
"""Attacker, an instance, another one, a record's number."""


def edit_and_rechain(a: Attacker, name: str, _: str, seq: int) -> None:
    a.edit(name, seq)
    a.rechain(name)


def delete_and_renumber(a: Attacker, name: str, _: str, seq: int) -> None:
    a.delete(name, seq)
    a.renumber(name, seq, -1)


def delete_and_rechain(a: Attacker, name: str, other: str, seq: int) -> None:
    delete_and_renumber(a, name, other, seq)
    a.rechain(name)


def insert_and_rechain(a: Attacker, name: str, _: str, seq: int) -> None:
    a.insert(name, seq)
    a.rechain(name)


ATTACKS: dict[str, tuple[Attack, Tampering, bool]] = {
    # name: what is done, what fits, whether the very record is named
    "edit": (lambda a, x, _, n: a.edit(x, n), Tampering.EDITED, True),
    "edit a column": (lambda a, x, _, n: a.set(x, n, kind="ended"), Tampering.EDITED, True),
    "edit the time beside": (lambda a, x, _, n: a.set(x, n, at=1), Tampering.EDITED, True),
    "edit a hash": (lambda a, x, _, n: a.set(x, n, hash="00" * 32), Tampering.EDITED, True),
    "edit and rechain": (edit_and_rechain, Tampering.EDITED, True),
    "empty a body": (lambda a, x, _, n: a.set(x, n, body=""), Tampering.EDITED, True),
    "delete": (lambda a, x, _, n: a.delete(x, n), Tampering.DELETED, True),
    "delete and renumber": (delete_and_renumber, Tampering.DELETED, True),
    "delete and rechain": (delete_and_rechain, Tampering.DELETED, True),
    "insert": (lambda a, x, _, n: a.insert(x, n), Tampering.INSERTED, True),
    "insert and rechain": (insert_and_rechain, Tampering.INSERTED, True),
    "reorder neighbours": (lambda a, x, _, n: a.swap_numbers(x, n, n + 1), Tampering.REORDERED, True),
    "reorder": (lambda a, x, _, n: a.swap_numbers(x, n, n + 3), Tampering.REORDERED, True),
    "cut tail": (lambda a, x, _, n: a.cut(x, n - 1), Tampering.TAIL_CUT, True),
    "cut tail and head": (lambda a, x, _, n: a.cut(x, n - 1, head_too=True), Tampering.TAIL_CUT, True),
    "remove instance": (lambda a, x, _, __: a.remove(x), Tampering.INSTANCE_REMOVED, False),
    "remove instance and places": (lambda a, x, _, __: a.remove(x, leaves_too=True), Tampering.INSTANCE_REMOVED, False),
    "swap bodies": (lambda a, x, _, n: a.swap_bodies((x, n), (x, n + 2)), Tampering.BODIES_SWAPPED, True),
    "swap bodies across": (lambda a, x, y, n: a.swap_bodies((x, n), (y, n)), Tampering.BODIES_SWAPPED, True),
}


@pytest.mark.parametrize("attack", list(ATTACKS))
async def test_U08_each_tampering_is_found_and_named(trail: Trail, attack: str) -> None:
    names = await trail.write()
    before = await trail.verify()
    assert before.whole, before.lines()
    assert before.trust is Trust.ANCHORED
    do, fits, exact = ATTACKS[attack]
    await trail.store.work(lambda backend: do(Attacker(backend), names[2], names[4], 4))
    verdict = await trail.verify()
    assert verdict.exit_code == 20
    first = verdict.first
    assert first is not None
    assert first.fits is fits, verdict.lines()
    if exact:
        assert (first.instance, first.seq) == (names[2], 4), verdict.lines()


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_U08_a_hundred_places_per_tampering(tmp_path: Path, attack: str) -> None:
    trail, names = trail_in_memory(tmp_path, instances=12, rounds=5, each=2)
    reader = open_ledger(trail.store)
    backend_connection = reader._connection
    do, fits, exact = ATTACKS[attack]
    chance = random.Random(attack)
    for _ in range(100):
        name, other = chance.sample(names, 2)
        seq = chance.randint(2, 8)
        backend_connection.execute("BEGIN")
        do(Attacker(_Backend(backend_connection)), name, other, seq)
        first = verify(reader, keys=[trail.key.key]).first
        backend_connection.execute("ROLLBACK")
        assert first is not None, (name, seq)
        assert first.fits is fits, (name, seq, first)
        if exact:
            wanted = {(name, seq), (other, seq)} if "across" in attack else {(name, seq)}
            assert (first.instance, first.seq) in wanted, first
    assert verify(reader, keys=[trail.key.key]).whole


class _Backend:
    """Executes as the store's own connection does, inside a transaction that is given up."""

    dialect = "sqlite"

    def __init__(self, connection: object) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        return self._connection.execute(sql, parameters).fetchall()  # type: ignore[attr-defined]


async def test_H06_a_one_byte_changed_in_the_database_is_found_and_its_record_named(trail: Trail) -> None:
    names = await trail.write()
    assert (await trail.verify()).exit_code == 0
    needle = f"{names[1]}-2-0"
    if trail.store.url.startswith("sqlite"):  # in the file itself, beside the database
        assert scrub(trail.store.url)  # what is in the write-ahead log comes into the file
        flip(Path(trail.store.url.removeprefix("sqlite:///")), needle, needle.replace("-2-", "-3-"))
    else:
        change = "UPDATE journal SET body = replace(body, ?, ?) WHERE instance = ?"
        await trail.store.work(lambda b: b.execute(change, (needle, needle.replace("-2-", "-3-"), names[1])))
    verdict = await trail.verify()
    assert verdict.exit_code == 20
    assert verdict.first is not None
    assert (verdict.first.fits, verdict.first.instance, verdict.first.seq) == (Tampering.EDITED, names[1], 6)
    assert verdict.lines()[0].startswith(f"TAMPERED, edit: record 6 of {names[1]}: ")


def flip(path: Path, old: str, new: str) -> None:
    data = path.read_bytes()
    assert data.count(old.encode()) == 1
    path.write_bytes(data.replace(old.encode(), new.encode()))


async def test_H06_b_the_last_ten_records_deleted_fail_against_the_signed_checkpoint(trail: Trail) -> None:
    await trail.write()
    newest = "SELECT position FROM journal ORDER BY position DESC LIMIT 10"
    await trail.store.work(lambda b: b.execute(f"DELETE FROM journal WHERE position IN ({newest})"))
    verdict = await trail.verify(anchored=False)
    assert verdict.exit_code == 20
    assert verdict.first is not None
    assert verdict.first.fits is Tampering.TAIL_CUT
    assert len(verdict.findings) == 5  # two records of each of the five last instances


async def test_U08_records_cut_with_their_places_heads_and_tiles_fail_against_the_checkpoint(trail: Trail) -> None:
    names = await trail.write()

    def cut(backend: object) -> None:
        a = Attacker(backend)  # type: ignore[arg-type]
        for name in names:
            a.cut(name, 7, head_too=True, leaves_too=True)
        a.rebuild_tree()
        size = a.sql("SELECT count(*) FROM leaves")[0][0]
        a.sql(
            "UPDATE meta SET value = ? WHERE key = 'sequencer'",
            (f'{{"size":{size},"xid":"0","position":1,"floor":0}}',),
        )

    await trail.store.work(cut)
    verdict = await trail.verify(anchored=False)
    assert verdict.first is not None
    assert verdict.first.fits is Tampering.TAIL_CUT, verdict.lines()


async def test_U08_an_old_checkpoint_is_found_by_the_anchor(trail: Trail) -> None:
    names = await trail.write()
    await trail.store.append_outside(names[0], [trail.draft("flag.set", {"flag": "late"})], trail.clock.now())
    await trail.seal()
    await trail.store.work(lambda backend: Attacker(backend).drop_newest_checkpoint())
    assert (await trail.verify(anchored=False)).whole  # nothing inside can tell
    verdict = await trail.verify()
    assert verdict.first is not None
    assert verdict.first.fits is Tampering.CHECKPOINT_OLD, verdict.lines()


async def test_U08_a_checkpoint_missing_from_the_middle_is_found_without_an_anchor(trail: Trail) -> None:
    await trail.write()
    await trail.store.work(lambda b: b.execute("DELETE FROM checkpoints WHERE number = 2"))
    verdict = await trail.verify(anchored=False)
    assert verdict.first is not None
    assert verdict.first.fits is Tampering.CHECKPOINT_OLD


async def test_U08_a_tree_rewritten_with_the_record_is_a_fork_and_its_beginning_is_named(trail: Trail) -> None:
    names = await trail.write()

    def fork(backend: object) -> None:
        a = Attacker(backend)  # type: ignore[arg-type]
        a.edit(names[3], 5)
        a.rechain(names[3])
        a.rebuild_tree()

    await trail.store.work(fork)
    verdict = await trail.verify(anchored=False)
    assert verdict.first is not None
    assert verdict.first.fits is Tampering.TREE_FORKED, verdict.lines()
    with open_ledger(trail.store) as reader:
        leaf = reader.leaves_of(names[3])[5]
        sizes = [0, *(one.size for one in reader.checkpoints())]
    held = max(size for size in sizes if size <= leaf)
    assert verdict.first.leaf == held  # the checkpoints on both sides of the edit enclose it


async def test_U08_whoever_has_the_signing_key_too_is_found_by_the_anchor(trail: Trail) -> None:
    names = await trail.write()

    def fork(backend: object) -> None:
        a = Attacker(backend)  # type: ignore[arg-type]
        a.edit(names[3], 5)
        a.rechain(names[3])
        a.rebuild_tree()

    await trail.store.work(fork)
    with open_ledger(trail.store) as reader:
        forged = {one.number: sign_tree(trail.key, one.size, reader.tile) for one in reader.checkpoints()}
    for number, (root, note) in forged.items():
        values = (root, note, number)
        await trail.store.work(
            lambda b, values=values: b.execute("UPDATE checkpoints SET root = ?, note = ? WHERE number = ?", values)
        )
    assert (await trail.verify(anchored=False)).whole
    verdict = await trail.verify()
    assert verdict.first is not None
    assert verdict.first.fits is Tampering.TREE_FORKED, verdict.lines()


async def test_U08_a_checkpoint_signed_by_another_key_is_named(trail: Trail) -> None:
    await trail.write()
    other = new_signing_key(trail.key.key.name)
    with open_ledger(trail.store) as reader:
        newest = reader.newest_checkpoint()
        assert newest is not None
        _, note = sign_tree(other, newest.size, reader.tile)
    await trail.store.work(
        lambda b: b.execute("UPDATE checkpoints SET note = ? WHERE number = ?", (note, newest.number))
    )
    verdict = await trail.verify(anchored=False)
    assert verdict.first is not None
    assert verdict.first.fits is Tampering.KEY_WRONG
    assert other.key.key_id.hex() in verdict.first.message


async def test_U08_a_checkpoint_whose_text_was_changed_is_named(trail: Trail) -> None:
    await trail.write()
    await trail.store.work(
        lambda b: b.execute("UPDATE checkpoints SET note = replace(note, '.local', '.loca1') WHERE number = 3")
    )
    verdict = await trail.verify(anchored=False)
    assert verdict.first is not None
    assert verdict.first.fits is Tampering.KEY_WRONG


async def test_U08_damaged_tiles_are_told_from_damaged_records(trail: Trail) -> None:
    await trail.write()
    empty = "A" * 43 + "="
    await trail.store.work(lambda b: b.execute("UPDATE tiles SET data = ? WHERE level = 0 AND number = 0", (empty,)))
    verdict = await trail.verify(anchored=False)
    assert any(one.fits is Tampering.TREE_DAMAGED for one in verdict.findings), verdict.findings


async def test_U08_verification_goes_on_while_records_are_written(trail: Trail) -> None:
    names = await trail.write()
    with open_ledger(trail.store) as reader:
        reader.size()  # its picture is taken here
        await trail.store.append_outside(names[1], [trail.draft("flag.set", {"flag": "new"})], trail.clock.now())
    verdict = await trail.verify()
    assert verdict.whole, verdict.lines()
    assert verdict.unsigned == 1


def test_a_checkpoint_of_another_origin_is_refused() -> None:
    key = SigningKey("acme.example/one", bytes(range(32)))
    note = signed_note(checkpoint_text("acme.example/two", 1, bytes(32)), [key])
    with pytest.raises(Exception, match="not in force"):
        read_checkpoint(note, ring_of([key.key], []))
