"""What the audit costs, counted in hashes, and many processes verify as one does."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from support.trail import Trail
from topstitch.audit import bench, verify as verifying
from topstitch.audit.verify import verify
from topstitch.store import sealing
from topstitch.store.ledger_reader import open_ledger


class Hashed:
    """How often something was hashed: what the audit costs, whatever the machine does meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, real = 0, hashlib.sha256

        def counting(*given: Any) -> Any:
            self.count += 1
            return real(*given)

        monkeypatch.setattr(hashlib, "sha256", counting)
        monkeypatch.setattr(sealing, "sha256", counting)

    def since(self) -> int:
        """Return how often since this was last asked."""
        count, self.count = self.count, 0
        return count


async def test_a_record_is_hashed_once_to_be_sealed_twice_to_be_placed_and_once_to_be_verified(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``topstitch bench --trust`` prints what that costs, beside its budget."""
    hashed = Hashed(monkeypatch)
    written = 10 * len(await trail.write(instances=10, rounds=2, each=5))
    assert written <= hashed.since() < 7 * written  # payload digests, ids and the keys of personal values with it
    with open_ledger(trail.store) as reader:
        verdict = verify(reader, keys=[trail.key.key])
    assert verdict.whole
    assert verdict.records <= hashed.since() + 1 < 3 * verdict.records


def test_sealing_and_placing_hash_no_more_than_they_have_to(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = Hashed(monkeypatch)
    bench._serialise()
    assert hashed.since() == 0, "a journal without audit"
    bench._seal()
    assert hashed.since() == bench.SEALED
    bench._place()
    assert hashed.since() < 2 * bench.SEALED, "a leaf, and less than one node"


def test_what_the_bench_prints_of_the_audit_is_measured() -> None:
    figures = bench.measure(instances=4)
    assert figures.records == 4 * bench.RECORDS_EACH
    assert figures.verify_per_cpu_second > 0


async def test_several_processes_find_what_one_finds(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    names = await trail.write(instances=12, rounds=2)
    monkeypatch.setattr(verifying, "PROCESSES_FROM_RECORDS", 0)
    await trail.store.work(
        lambda b: b.execute("UPDATE journal SET hash = ? WHERE instance = ? AND seq = 2", ("0" * 64, names[5]))
    )
    seen: list[int] = []
    with open_ledger(trail.store) as reader:
        one = verify(reader, keys=[trail.key.key])
        two = verify(reader, keys=[trail.key.key], processes=2, progress=seen.append)
    assert one.findings == two.findings
    assert (two.records, two.instances, seen[-1]) == (one.records, one.instances, 60)
    assert two.first is not None
    assert (two.first.instance, two.first.seq) == (names[5], 2)


async def test_spans_divide_all_instances(trail: Trail) -> None:
    names = await trail.write(instances=7, rounds=1, each=1)
    with open_ledger(trail.store) as reader:
        spans = reader.spans(records=4)
        found = [row[0] for span in spans for rows in reader.journal(span) for row in rows]
    assert len(spans) > 2
    assert sorted(found) == sorted(names * 2)
