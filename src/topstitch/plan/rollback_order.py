"""Decides in which order steps are undone: dependents before what they depend on.

Used by the execution stage at run time and by the verifier and the dry run beforehand, so
that what is predicted is what happens (H-03).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def undo_order(waits_for: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Return ids so that each comes before everything it waits for; ties keep file order, reversed."""
    order: list[str] = []
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        for other in waits_for[name]:
            visit(other)
        order.append(name)

    for name in waits_for:
        visit(name)
    return tuple(reversed(order))


def transitive_needs(waits_for: Mapping[str, Iterable[str]], name: str) -> frozenset[str]:
    """Return everything that has settled before ``name`` may start."""
    found: set[str] = set()
    stack = list(waits_for.get(name, ()))
    while stack:
        other = stack.pop()
        if other not in found:
            found.add(other)
            stack.extend(waits_for.get(other, ()))
    return frozenset(found)
