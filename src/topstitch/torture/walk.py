"""Decides which choices stand open at one point of a schedule, and where each of them leads.

A node is everything that the future depends on: the instance's state, the systems, the
time, the answers on their way, and how many faults are left. ``expand`` asks the real core
what it wants and returns the choices: how a journal write ends, how a system answers, what
a person does. ``explore`` walks them all; nothing is remembered here between two calls, so
that a schedule can be left and taken up again anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from topstitch import lifecycle
from topstitch.model.orders import (
    Call,
    InboxCall,
    LookUpCall,
    Orders,
    Outcome,
    ReadCall,
    ReportCall,
    ResolveCall,
    StartCall,
    TellCall,
    WriteCall,
)
from topstitch.model.record import Draft
from topstitch.model.state import InstanceState
from topstitch.torture import answers, people
from topstitch.torture.arrange import START, Arena, Variant
from topstitch.torture.journal import Journal
from topstitch.torture.node import BrokenError, Node, Point
from topstitch.torture.world import World

INSTANCE: Final = "ins_torture"


@dataclass(frozen=True, slots=True, kw_only=True)
class Walker:
    """Expands nodes of one arena."""

    arena: Arena
    journal: Journal
    kinds: frozenset[str]
    """Which faults are tried; see ``FAULT_KINDS``."""

    def begin(self, variant: Variant, faults: int) -> Node:
        """Return the first node of the schedules in which the conditions say what ``variant`` says."""
        plan = self.arena.plan
        first = lifecycle.begin(plan, self.arena.event(variant), INSTANCE, START)
        assert first is not None
        state = self.journal.append(lifecycle.initial(plan, INSTANCE), (first,))
        return Node(state, World(), START, faults - variant.cost)

    def expand(self, node: Node) -> Point:
        """Return the choices at ``node``."""
        if node.pending:
            return self._append(node, node.pending, None)
        orders = node.orders or lifecycle.decide(self.arena.plan, node.state, node.now)
        if orders.records:
            return self._append(node, orders.records, orders)
        under_way = {call.key for call, _ in node.flying}
        for call in orders.calls:
            if call.key not in under_way:
                return self._perform(node, call)
        if node.flying:
            return self._land(node)
        return people.rest(self.arena, node, orders.wake_at, self.kinds)

    # --- the journal --------------------------------------------------------------------------

    def _append(self, node: Node, drafts: tuple[Draft, ...], orders: Orders | None) -> Point:
        after = self.journal.append(node.state, drafts)
        world = people.told(node.world, drafts)
        if orders is not None and after != orders.state:
            raise BrokenError("refolded", "the state handed back by decide is not the fold of its records")
        rest = Orders(calls=orders.calls, wake_at=orders.wake_at, ended=orders.ended) if orders else None

        def take(choice: int) -> Node:
            if choice == 0:
                return Node(after, world, node.now, node.left, node.flying, orders=rest)
            if choice == 1:
                return self._restart(node, node.state, node.world)
            return self._restart(node, after, world)

        return Point("write " + ", ".join(draft.kind for draft in drafts), WRITTEN if "crash" in self.kinds else WRITTEN[:1], take)

    def _restart(self, node: Node, state: InstanceState, world: World) -> Node:
        """Return the node at which a new engine takes the instance up from its journal."""
        found = tuple(lifecycle.recover(self.arena.plan, state, node.now))
        return Node(state, world, node.now, node.left - 1, (), found)

    # --- calls --------------------------------------------------------------------------------

    def _perform(self, node: Node, call: Call) -> Point:
        match call:
            case WriteCall():
                choices = answers.of_write(self.arena, node.state, node.world, call, node.now)
            case LookUpCall():
                choices = answers.of_look_up(self.arena, node.state, node.world, call, node.now)
            case ReadCall():
                choices = answers.of_read(self.arena, node.state, node.world, call)
            case ResolveCall():
                choices = answers.of_resolve(node.world, call)
            case TellCall():
                choices = answers.of_tell(node.world, call)
            case InboxCall() | StartCall():
                choices = answers.of_event(node.world, call)
            case ReportCall():
                choices = [answers.Choice("told", 0, node.world, answers.OK)]
        choices = [c for c in choices if c.kind in self.kinds or c.cost == 0]

        def take(index: int) -> Node:
            chosen = choices[index]
            left = node.left - chosen.cost
            if chosen.late:
                return Node(node.state, chosen.world, node.now, left, (*node.flying, (call, chosen.outcome)))
            return self._settled(node, chosen.world, left, call, chosen.outcome, node.flying)

        return Point(f"{_VERBS[type(call)]} {call.key}", [(c.name, c.cost) for c in choices], take)

    def _land(self, node: Node) -> Point:
        call, outcome = node.flying[0]

        def take(_: int) -> Node:
            return self._settled(node, node.world, node.left, call, outcome, node.flying[1:])

        return Point(f"answer to {call.key}", LANDED, take)

    def _settled(
        self, node: Node, world: World, left: int, call: Call, outcome: Outcome, flying: tuple[tuple[Call, Outcome], ...]
    ) -> Node:
        drafts = tuple(lifecycle.settle(self.arena.plan, node.state, call, outcome, node.now))
        if not drafts and isinstance(call, WriteCall):
            raise BrokenError("unheard", f"the answer to {call.key} left no record")
        return Node(node.state, world, node.now, left, flying, drafts)


WRITTEN: Final = (("written", 0), ("crash before it is written", 1), ("written, then crash", 1))
LANDED: Final = (("comes in", 0),)
FAULT_KINDS: Final = frozenset(
    {"crash", "system", "silent", "look", "back", "late", "foreign", "context", "directory", "people", "event", "reconcile"}
)
"""What can go wrong in a schedule. ``cancel`` and ``tell`` may be added."""
EVERY_KIND: Final = FAULT_KINDS | {"cancel", "tell"}
_VERBS: Final[dict[type[Any], str]] = {
    WriteCall: "send",
    LookUpCall: "look up",
    ReadCall: "read",
    ResolveCall: "find people for",
    TellCall: "tell",
    InboxCall: "search",
    StartCall: "start",
    ReportCall: "report",
}
