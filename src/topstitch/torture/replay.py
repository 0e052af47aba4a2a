"""Walks one schedule again and tells it, choice by choice and record by record.

``torture FILE --replay <choices>`` calls it with what ``explore`` printed. The choices name
the points at which something else than the expected happened, counted over the points that
had a choice at all; the same definition and choices give the same schedule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from topstitch.foundation.errors import RequestError
from topstitch.foundation.timetext import rfc3339
from topstitch.model.action import JsonSchema
from topstitch.plan.plan import Plan
from topstitch.torture.explore import POINTS_MAX, RAISED, payable, ready
from topstitch.torture.journal import PaperJournal
from topstitch.torture.node import BrokenError, Node, Point
from topstitch.torture.oracles import judge
from topstitch.torture.walk import FAULT_KINDS, Walker


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One schedule, told."""

    lines: tuple[str, ...]
    end: str | None
    broken: BrokenError | None
    """What is not as it must be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One choice of a schedule, and the node it leads to."""

    point: Point
    chosen: int
    node: Node


def replay(
    plan: Plan,
    choices: str,
    *,
    schema: JsonSchema | None = None,
    data: Mapping[str, Any] | None = None,
    kinds: frozenset[str] = FAULT_KINDS,
    reconcile: bool = True,
) -> Replayed:
    """Walk the schedule of ``choices`` and tell it; everything else as it was given to ``explore``."""
    arena = ready(plan, schema=schema, data=data, reconcile=reconcile)
    walker = Walker(arena=arena, journal=PaperJournal(arena.plan), kinds=kinds)
    lines: list[str] = []
    node: Node | None = None
    broken: BrokenError | None = None
    try:
        for move in moves(walker, choices):
            node = move.node
            lines += _told(move)
        if node is not None:
            judge(arena.plan, node, None)
    except RequestError:
        raise
    except BrokenError as error:
        broken = error
    except RAISED as error:
        broken = BrokenError("raised", f"{type(error).__name__}: {error}")
    return Replayed(lines=tuple(lines), end=node.state.ended if node else None, broken=broken)


def moves(walker: Walker, choices: str) -> Iterator[Move]:
    """Yield the schedule move by move; raise ``RequestError`` for choices that no schedule of this plan has."""
    faults, wanted = read_choices(choices)
    point, left, number = walker.top(faults), faults, 0
    for _ in range(POINTS_MAX):
        options = payable(point, left)
        chosen = options[0]
        if len(options) > 1 or number == 0:
            chosen = wanted.get(number, options[0])
            number += 1
        if chosen not in options:
            raise RequestError(
                "no-such-schedule",
                f"there is no choice {chosen} at point {number - 1}; run torture again for its choices",
            )
        node = point.take(chosen)
        yield Move(point=point, chosen=chosen, node=node)
        if node.ended:
            return
        point, left = walker.expand(node), node.left
    raise BrokenError("stall", f"it is not over after {POINTS_MAX} choices")


def read_choices(text: str) -> tuple[int, dict[int, int]]:
    """Read ``2/3:1,17:2``: how many faults, and which choice at which point."""
    try:
        faults, _, rest = text.partition("/")
        pairs = [part.split(":") for part in rest.split(",") if part]
        return int(faults), {int(point): int(choice) for point, choice in pairs}
    except ValueError:
        raise RequestError(
            "no-such-schedule", f"{text!r} is no schedule; write it as torture printed it, such as 2/3:1,17:2"
        ) from None


def _told(move: Move) -> list[str]:
    name, cost = move.point.options[move.chosen]
    node = move.node
    mark = "!" if cost else " "
    lines = [f"{rfc3339(node.now)} {mark} {move.point.what}: {name}"]
    lines += [f"{'':24}     {draft.kind} {draft.step or ''} {_said(draft.body)}".rstrip() for draft in node.wrote]
    return lines


def _said(body: Mapping[str, Any]) -> str:
    shown = (
        "act",
        "attempt",
        "result",
        "answer",
        "next",
        "failure",
        "effect",
        "mode",
        "ending",
        "then",
        "flag",
        "task",
        "outcome",
        "end",
    )
    return " ".join(f"{name}={body[name]}" for name in shown if body.get(name) is not None)
