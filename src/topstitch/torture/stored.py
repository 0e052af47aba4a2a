"""Walks schedules through the real journal: every commit is appended, every restart reads it back.

Slower than ``explore``, which shares what schedules have in common: here each begins with an
empty database in memory. A crash is a claim by another engine, which must find the journal
that the walk remembers and fence off the engine that died. Called by ``cli torture --stored``
and the tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from topstitch import lifecycle
from topstitch.foundation.errors import ConflictError
from topstitch.model.kinds import Kind
from topstitch.model.record import ENGINE, ActorKind, Draft, Record
from topstitch.model.state import InstanceState
from topstitch.store.instances import records
from topstitch.store.store import Store
from topstitch.store.values import Lease, NewInstance
from topstitch.torture.explore import POINTS_MAX, payable
from topstitch.torture.node import BrokenError, Node, Point
from topstitch.torture.oracles import judge
from topstitch.torture.replay import Move
from topstitch.torture.walk import INSTANCE, Walker

LEASE_SECONDS: Final = 30.0
Schedule = Sequence[Move]


def schedules(walker: Walker, faults: int) -> Iterator[Schedule]:
    """Yield every schedule with at most ``faults`` faults, each from its beginning to its end."""
    top = walker.top(faults)
    stack = [_Open(top, payable(top, faults))]
    while stack:
        place = stack[-1]
        place.at += 1
        if place.at >= len(place.options):
            stack.pop()
            continue
        node = place.point.take(place.options[place.at])
        place.move = Move(point=place.point, chosen=place.options[place.at], node=node)
        if node.ended:
            judge(walker.arena.plan, node, None)
            yield [open_.move for open_ in stack if open_.move is not None]
            continue
        if len(stack) > POINTS_MAX:
            raise BrokenError("stall", f"it is not over after {POINTS_MAX} choices")
        point = walker.expand(node)
        stack.append(_Open(point, payable(point, node.left)))


async def through_store(walker: Walker, schedule: Schedule, store: Store) -> int:
    """Carry one schedule out on an empty store; return how often an engine had to take it up again.

    Raises ``BrokenError`` when the journal read back is not the one that was written.
    """
    carried = _Carried(walker, store)
    for move in schedule:
        await carried.on(move.node)
    await carried.compare(schedule[-1].node.state, await records(store, INSTANCE))
    return carried.engines - 1


@dataclass(slots=True)
class _Open:
    point: Point
    options: Sequence[int]
    at: int = -1
    move: Move | None = None


class _Carried:
    def __init__(self, walker: Walker, store: Store) -> None:
        self.walker, self.store = walker, store
        self.engines = 0
        self.lease: Lease | None = None
        self.due_at: datetime | None = None

    async def on(self, node: Node) -> None:
        """Write what a move wrote, and take the instance up again when it says so."""
        if self.lease is None:
            await self._start(node)
            return
        if node.wrote and node.wrote[0].actor.kind is ActorKind.HUMAN:
            await self.store.append_outside(INSTANCE, node.wrote, node.now)
            await self.store.catch_up(self.lease)
        elif node.wrote:
            await self.store.append(self.lease, node.wrote, ended_at=node.now if node.ended else None)
        if node.restarted:
            await self._take_up_again(node)

    async def _start(self, node: Node) -> None:
        arena, first = self.walker.arena, node.wrote[0]
        body = first.body
        new = NewInstance(
            id=INSTANCE,
            workflow=body["workflow"],
            version=body["version"],
            digest=body["digest"],
            first=first,
            title=body["title"],
            correlation=body["correlation"],
        )
        await self.store.accept(arena.event(arena.variants[0]), [new])
        await self._claim(node)

    async def _claim(self, node: Node) -> Sequence[Record]:
        self.engines += 1
        at = node.now + timedelta(seconds=self.engines * (LEASE_SECONDS + 1))
        claims = await self.store.claim(f"engine-{self.engines}", at, LEASE_SECONDS, 1)
        if not claims.due:
            raise BrokenError("stall", "a new engine finds nothing that it could take up")
        self.lease = claims.due[0].lease
        return claims.due[0].records

    async def _take_up_again(self, node: Node) -> None:
        dead = self.lease
        found = await self._claim(node)
        await self.compare(node.state, found)
        assert dead is not None
        try:
            await self.store.append(dead, [_late(node)])
        except ConflictError:
            return
        raise BrokenError("intent", "an engine that was taken for dead could still write")

    async def compare(self, state: InstanceState, found: Sequence[Record]) -> None:
        """Raise when the records do not fold to ``state``."""
        plan = self.walker.arena.plan
        folded = lifecycle.initial(plan, INSTANCE)
        for record in found:
            folded = lifecycle.fold(plan, folded, record)
        if folded != state:
            raise BrokenError("refolded", f"the journal in the store folds to another state after {len(found)} records")


def _late(node: Node) -> Draft:
    """Return what an engine that does not know it is dead may still want to write."""
    return Draft(
        kind=Kind.STAGE_ENTERED, at=node.now, actor=ENGINE, stage=node.state.stage, body={"stage": node.state.stage}
    )
