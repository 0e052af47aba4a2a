"""Verifies the chains of a database: every record's hash, every sequence, every end.

``audit verify``, the demo and ``doctor`` call it. It reads records as they are stored and computes what
they must hash to; it opens no personal value and needs no key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from topstitch.foundation.canonical import GENESIS, chain_hash
from topstitch.store import Store, instances
from topstitch.store.instances import Head, StoredRecord

PAGE: Final = 10_000


@dataclass(slots=True, kw_only=True)
class Chains:
    """What verifying came to."""

    instances: int = 0
    records: int = 0
    broken: list[str] = field(default_factory=list)
    """Each names the instance and the first record that does not hold."""


async def verify_chains(store: Store, instance: str | None = None) -> Chains:
    """Verify one chain, or all."""
    done = Chains()
    ends: dict[str, tuple[int, bytes]] = {}
    bad: dict[str, str] = {}
    position = 0
    while page := await instances.stored_records(store, after_position=position, instance=instance, limit=PAGE):
        position = page[-1].position
        for record in page:
            done.records += 1
            _follow(record, ends, bad)
    for head in await _heads(store, instance):
        done.instances += 1
        seq, last = ends.get(head.instance, (0, GENESIS))
        if head.instance not in bad and (seq, last) != (head.seq, head.hash):
            bad[head.instance] = f"{head.instance} ends at record {seq}, its row says {head.seq}: records are missing"
    done.broken = [bad[name] for name in sorted(bad)]
    return done


def _follow(record: StoredRecord, ends: dict[str, tuple[int, bytes]], bad: dict[str, str]) -> None:
    if record.instance in bad:
        return
    seq, prev = ends.get(record.instance, (0, GENESIS))
    if record.seq != seq + 1:
        bad[record.instance] = f"{record.instance} record {record.seq}: record {seq + 1} should stand there"
    elif chain_hash(prev, record.body) != record.hash:
        bad[record.instance] = f"{record.instance} record {record.seq} ({record.kind}) is not what was written"
    ends[record.instance] = (record.seq, record.hash)


async def _heads(store: Store, instance: str | None) -> list[Head]:
    found: list[Head] = []
    after = ""
    while page := await instances.heads(store, after=after, limit=PAGE):
        found += page
        after = page[-1].instance
    return [head for head in found if instance in (None, head.instance)]
