"""Decides which choices stand open at one point of a schedule, and where each of them leads.

``expand`` takes turns as the engine does: settle what has come back, ask the real core,
write all of it in one commit, make the calls. Between them stand the choices: how the commit
ends, how a system answers, whether the engine dies after a send, what a person does.
``explore`` walks them all. Nodes are values, and nothing is remembered between two calls, so
a schedule can be left and taken up again anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from topstitch import lifecycle
from topstitch.model.orders import (
    Call,
    DriftCall,
    InboxCall,
    LookUpCall,
    Orders,
    ReadCall,
    ReportCall,
    ResolveCall,
    StartCall,
    TellCall,
    WriteCall,
)
from topstitch.model.record import Draft
from topstitch.model.state import ActStatus, InstanceState
from topstitch.torture import answers, people
from topstitch.torture.answers import Choice
from topstitch.torture.arrange import START, Arena, Variant
from topstitch.torture.journal import Journal
from topstitch.torture.node import BrokenError, Node, Point
from topstitch.torture.oracles import watch
from topstitch.torture.world import World

INSTANCE: Final = "ins_torture"
FAULT_KINDS: Final = frozenset(
    {
        "crash",
        "system",
        "silent",
        "look",
        "back",
        "late",
        "foreign",
        "context",
        "directory",
        "people",
        "event",
        "reconcile",
        "drift",
    }
)
"""What can go wrong in a schedule. ``cancel``, ``operate`` and ``tell`` may be added."""
EVERY_KIND: Final = FAULT_KINDS | {"cancel", "operate", "tell"}
WRITTEN: Final = (("written", 0), ("crash before it is written", 1), ("written, then crash", 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Walker:
    """Expands nodes of one arena."""

    arena: Arena
    journal: Journal
    kinds: frozenset[str]
    """Which faults are tried; see ``FAULT_KINDS``."""

    def top(self, faults: int) -> Point:
        """Return the first choice of every schedule: what the conditions say."""
        variants = self.arena.variants
        options = [(variant.name, variant.cost) for variant in variants]
        return Point("conditions", options, lambda index: self.begin(variants[index], faults))

    def begin(self, variant: Variant, faults: int) -> Node:
        """Return the first node of the schedules in which the conditions say what ``variant`` says."""
        plan = self.arena.plan
        first = lifecycle.begin(plan, self.arena.event(variant), INSTANCE, START)
        if first is None:
            raise BrokenError("raised", "the event starts nothing")
        before = lifecycle.initial(plan, INSTANCE)
        state = lifecycle.fold(plan, before, first)
        self.journal.check(before, (first,), state)
        return Node(state, World(), START, faults - variant.cost, wrote=(first,))

    def expand(self, node: Node) -> Point:
        """Return the choices at ``node``."""
        if node.todo:
            if node.left <= 0:
                node = self._answered(node)
            else:
                return self._perform(node, node.todo[0])
        orders = node.orders
        if orders is None:
            state, drafts, orders = self._turn(node)
            if drafts:
                return self._commit(node, state, drafts, orders)
            node = replace(node, orders=orders)
        under_way = {call.key for call, _ in node.flying}
        todo = tuple(call for call in orders.calls if call.key not in under_way)
        if todo:
            return self.expand(Node(node.state, node.world, node.now, node.left, node.flying, todo=todo))
        if node.flying:
            return self.expand(Node(node.state, node.world, node.now, node.left, landed=node.flying))
        return people.rest(self.arena, self.journal, node, orders.wake_at, self.kinds)

    def _turn(self, node: Node) -> tuple[InstanceState, list[Draft], Orders]:
        plan, state, now = self.arena.plan, node.state, node.now
        drafts: list[Draft] = []
        if node.recovers:
            drafts += lifecycle.recover(plan, state, now)
            for draft in drafts:
                state = lifecycle.fold(plan, state, draft)
        for call, outcome in node.landed:
            found = lifecycle.settle(plan, state, call, outcome, now)
            if not found and isinstance(call, WriteCall):
                raise BrokenError("unheard", f"the answer to {call.key} left no record")
            for draft in found:
                state = lifecycle.fold(plan, state, draft)
            drafts += found
        orders = lifecycle.decide(plan, state, now)
        drafts += orders.records
        return orders.state, drafts, orders

    def _answered(self, node: Node) -> Node:
        """Return the node after the calls of a turn in which no fault can be paid for any more."""
        world, landed = node.world, list(node.landed)
        for call in node.todo:
            choice = self._answers(node, world, call)[0]
            world = choice.world
            landed.append((call, choice.outcome))
        return Node(node.state, world, node.now, node.left, node.flying, landed=tuple(landed))

    # --- the journal --------------------------------------------------------------------------

    def _commit(self, node: Node, after: InstanceState, drafts: list[Draft], orders: Orders) -> Point:
        self.journal.check(node.state, drafts, after)
        watch(self.arena.plan, node.state, drafts)
        world = people.told(node.world, drafts)
        rest = Orders(calls=orders.calls, wake_at=orders.wake_at, ended=orders.ended)

        def take(choice: int) -> Node:
            match choice:
                case 0:
                    return Node(after, world, node.now, node.left, node.flying, orders=rest, wrote=tuple(drafts))
                case 1:
                    return _restarted(node, node.state, node.world)
                case _:
                    return _restarted(node, after, world, tuple(drafts))

        crashes = "crash" in self.kinds and not orders.ended
        return Point("write " + ", ".join([draft.kind for draft in drafts]), WRITTEN if crashes else WRITTEN[:1], take)

    # --- calls --------------------------------------------------------------------------------

    def _perform(self, node: Node, call: Call) -> Point:
        choices = [c for c in self._answers(node, node.world, call) if c.cost == 0 or c.kind in self.kinds]
        rest = node.todo[1:]

        def take(index: int) -> Node:
            chosen = choices[index]
            if chosen.crash:
                return _restarted(node, node.state, chosen.world)
            came = ((call, chosen.outcome),)
            landed, flying = (node.landed, node.flying + came) if chosen.late else (node.landed + came, node.flying)
            return Node(node.state, chosen.world, node.now, node.left - chosen.cost, flying, landed=landed, todo=rest)

        return Point(f"{_VERBS[type(call)]} {call.key}", [(c.name, c.cost) for c in choices], take)

    def _answers(self, node: Node, world: World, call: Call) -> list[Choice]:
        match call:
            case WriteCall():
                return answers.of_write(self.arena, node.state, world, call, node.now)
            case LookUpCall():
                return answers.of_look_up(self.arena, node.state, world, call, node.now)
            case ReadCall():
                return answers.of_read(self.arena, node.state, world, call)
            case ResolveCall():
                return answers.of_resolve(world, call)
            case TellCall():
                return answers.of_tell(world, call)
            case InboxCall() | StartCall():
                return answers.of_event(world, call)
            case ReportCall():
                return [Choice("told", 0, world, answers.OK)]
            case DriftCall():
                return [Choice("counted", 0, world, answers.ALONE)]


def _restarted(node: Node, state: InstanceState, world: World, wrote: tuple[Draft, ...] = ()) -> Node:
    """Return the node at which a new engine takes the instance up from its journal."""
    recovers = any(act.status is ActStatus.SENT for act in state.acts.values())
    return Node(state, world, node.now, node.left - 1, recovers=recovers, wrote=wrote, restarted=True)


_VERBS: Final[dict[type[Any], str]] = {
    WriteCall: "send",
    LookUpCall: "look up",
    ReadCall: "read",
    ResolveCall: "find people for",
    TellCall: "tell",
    InboxCall: "search",
    StartCall: "start",
    ReportCall: "report",
    DriftCall: "count",
}
