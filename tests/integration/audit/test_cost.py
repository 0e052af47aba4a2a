"""What the audit costs stays within the budgets, and many processes verify as one does."""

from __future__ import annotations

import pytest

from support.trail import Trail
from topstitch.audit import bench, verify as verifying
from topstitch.audit.verify import verify
from topstitch.store.ledger_reader import open_ledger


def test_the_audit_stays_within_its_budget_measured_against_hashing_alone() -> None:
    """``topstitch bench`` prints the absolute figures; a busy machine is slower at both, so here they are compared."""
    figures = bench.measure(instances=100)
    assert figures.overhead_us < 10, figures
    assert 1e6 / figures.verify_per_cpu_second < 20 * figures.chain_us, figures
    assert figures.sequence_us < 40 * figures.chain_us, figures


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
