"""Measures what the audit costs: sealing a record, placing it in the tree, verifying many.

``topstitch bench`` prints the figures beside its others. Everything happens in memory, on the
code that runs in production; a figure is the best of several rounds, because a busy machine
only ever makes things slower. It writes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import process_time
from typing import Final

import msgspec
import orjson

from topstitch.audit import tree
from topstitch.audit.checkpoint import new_signing_key
from topstitch.audit.sequencer import Sequencer
from topstitch.audit.verify import verify
from topstitch.foundation.canonical import GENESIS, chain_hash
from topstitch.foundation.clock import SimulatedClock
from topstitch.foundation.timetext import rfc3339
from topstitch.model.event import TriggerEvent
from topstitch.model.record import ENGINE, Draft, Stage
from topstitch.store import NewInstance, Store
from topstitch.store.ledger_reader import open_ledger
from topstitch.store.sealing import seal

ROUNDS: Final = 5
SEALED: Final = 2_000
INSTANCES: Final = 400
RECORDS_EACH: Final = 50


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured."""

    overhead_us: float
    """CPU a record for hash chain and tree, on top of writing the same record as JSON."""
    chain_us: float
    """CPU a record for its chain hash alone: what verifying cannot do without, and a measure of the machine."""
    sequence_us: float
    """CPU a record for its place in the tree, database included."""
    verify_per_second: float
    """Records verified in a second by one process, read from the database."""
    verify_per_cpu_second: float
    """The same by the processor's time: what other programs on the machine take does not count."""
    records: int


def measure(*, instances: int = INSTANCES) -> Figures:
    """Measure on a database in memory."""
    bare = _best(_serialise) / SEALED * 1e6
    sealed = _best(_seal) / SEALED * 1e6
    placed = _best(_place) / SEALED * 1e6
    chained = _best(_chain) / SEALED * 1e6
    ledger = asyncio.run(_ledger(instances))
    return msgspec.structs.replace(ledger, overhead_us=max(sealed - bare, 0.0) + placed, chain_us=chained)


def _best(do: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = process_time()
        do()
        times.append(process_time() - began)
    return min(times)


_CLOCK: Final = SimulatedClock()


def _draft(number: int) -> Draft:
    output = {"user_id": f"u-{number}", "groups": ["all-staff", "engineering", "vpn"], "note": "x" * 400}
    body = {"act": "identity", "attempt": number, "result": "ok", "next": "done", "duration_ms": 12, "output": output}
    return Draft(kind="act.result", at=_CLOCK.now(), actor=ENGINE, stage=Stage.EXECUTION, step="identity", body=body)


_DRAFTS: Final = [_draft(number) for number in range(SEALED)]


def _serialise() -> None:
    """What a journal without audit would do: write the record, and give back what a later load would."""
    for seq, one in enumerate(_DRAFTS, 1):
        place = {"instance": "ins_1", "seq": seq, "kind": one.kind, "stage": one.stage, "step": one.step}
        text = orjson.dumps({"actor": str(one.actor), "at": rfc3339(one.at), "body": one.body, **place})
        orjson.loads(text)


def _seal() -> None:
    previous = GENESIS
    for seq, one in enumerate(_DRAFTS, 1):
        previous = seal(one, "ins_1", seq, previous, None).record.hash


_TEXT: Final = orjson.dumps({"body": _DRAFTS[0].body, "instance": "ins_1", "kind": "act.result", "seq": 1}).decode()


def _chain() -> None:
    previous = GENESIS
    for _ in _DRAFTS:
        previous = chain_hash(previous, _TEXT.encode())


def _place() -> None:
    leaves = [tree.leaf_hash(number.to_bytes(32, "big")) for number in range(SEALED)]
    tree.grow(0, {}, leaves)


async def _ledger(instances: int) -> Figures:
    with Store.open("sqlite::memory:") as store:
        for number in range(instances):
            await _instance(store, f"ins_{number:06}")
        key = new_signing_key()
        sequencer = Sequencer(store, key, _CLOCK)
        began = process_time()
        placed = 0
        while done := (await sequencer.place())[0]:
            placed += done
        sequence_us = (process_time() - began) / placed * 1e6
        await sequencer.sign()
        reader = open_ledger(store)
        verdicts = []
        cpu = _best(lambda: verdicts.append(verify(reader, keys=[key.key])))
    if not all(verdict.whole for verdict in verdicts):
        raise AssertionError("a ledger made for measuring does not verify; please report this")
    seconds = min(verdict.seconds for verdict in verdicts)
    return Figures(
        overhead_us=0.0,
        chain_us=0.0,
        sequence_us=sequence_us,
        verify_per_second=placed / seconds,
        verify_per_cpu_second=placed / cpu,
        records=placed,
    )


async def _instance(store: Store, name: str) -> None:
    now = _CLOCK.now()
    event = TriggerEvent(id=name, source="bench", type="bench.began", data={}, received_at=now)
    first = Draft(kind="started", at=now, actor=ENGINE, stage=Stage.TRIGGER, body={"title": name})
    new = NewInstance(id=name, workflow="bench", version="1", digest="sha256:bench", first=first)
    await store.accept(event, [new])
    await store.append_outside(name, _DRAFTS[: RECORDS_EACH - 1], now)
