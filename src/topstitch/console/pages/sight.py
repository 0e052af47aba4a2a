"""Decides what one instance looks like at a moment: its records up to then, folded.

The instance page, approvals and commands look through it. Viewed as of a time, it shows what was
known then and nothing later (H-10). Reads only.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from topstitch import lifecycle
from topstitch.console.hands import Hands
from topstitch.console.trace import Row, Shares, shares, trace
from topstitch.foundation.canonical import GENESIS, chain_hash
from topstitch.foundation.errors import RequestError
from topstitch.foundation.timetext import parse_time
from topstitch.model.record import Record
from topstitch.model.state import InstanceState
from topstitch.plan.plan import Plan
from topstitch.store import instances
from topstitch.store.instances import StoredRecord
from topstitch.store.rows import Shown


class Sight:
    """One instance at a moment."""

    def __init__(
        self, hands: Hands, row: Shown, plan: Plan, records: Sequence[Record], known: int | None, at: datetime | None
    ) -> None:
        self.hands, self.row, self.plan = hands, row, plan
        self.all_records = records
        self.records = list(records[:known]) if known else list(records)
        self.at = at
        """The moment it is viewed as of; nothing for now."""
        self.now = at if at is not None else max(hands.clock.now(), records[-1].at)
        state = lifecycle.initial(plan, row["id"])
        for record in self.records:
            state = lifecycle.fold(plan, state, record)
        self.state: InstanceState = state

    @cached_property
    def rows(self) -> list[Row]:
        """The timeline."""
        return trace(self.plan, self.state, self.records, self.now)

    @cached_property
    def shares(self) -> Shares | None:
        """Where the time went."""
        return shares(self.plan, self.state, self.rows, self.now)

    @cached_property
    def view(self) -> dict[str, Any]:
        """The facts, as every door tells them."""
        return self.hands.view(self.plan, self.state, self.records, self.now)


async def look(hands: Hands, instance: str, at: str | None = None) -> Sight:
    """Return an instance, as it stands or as it stood at a time."""
    row = await instances.get(hands.store, instance)
    records = await instances.records(hands.store, instance)
    known, moment = _moment(at, records) if at else (None, None)
    return Sight(hands, row, await hands.load(row["digest"]), records, known, moment)


def _moment(text: str, records: Sequence[Record]) -> tuple[int, datetime]:
    """Read a time, or the number of a record; return how many records were there, and the time."""
    if text.isdigit():
        seq = min(max(int(text), 1), len(records))
        return seq, records[seq - 1].at
    try:
        moment = parse_time(text)
    except ValueError:
        raise RequestError(
            "bad-time", f"{text!r} is no time; write one such as 2026-11-23T09:14:03Z, or a record's number"
        ) from None
    if moment < records[0].at:
        raise RequestError("too-early", "the instance had not begun then; choose a later time")
    return sum(1 for r in records if r.at <= moment), moment


async def verified(hands: Hands, instance: str) -> tuple[int, int | None]:
    """Recompute an instance's chain from the stored bytes: how many records, and the first that does not hold."""
    stored = await instances.stored_records(hands.store, instance=instance)
    return len(stored), broken_at(stored)


def broken_at(stored: Sequence[StoredRecord]) -> int | None:
    """Return the number of the first record that is not what was written, or nothing."""
    previous = GENESIS
    for number, record in enumerate(sorted(stored, key=lambda r: r.seq), 1):
        if record.seq != number or chain_hash(previous, record.body) != record.hash:
            return number
        previous = record.hash
    return None
