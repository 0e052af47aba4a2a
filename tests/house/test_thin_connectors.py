"""Sequence, conditions, approvals and compensation live in the orchestration layer, never in a connector (V-08)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

CONNECTORS = Path(__file__).parents[2] / "src/topstitch/connectors"
FLOW = (
    "plan", "verifier", "governance", "attempts", "trigger", "context", "execution", "reconciliation", "lifecycle",
    "metrics", "bootstrap", "store", "engine", "language.check", "model.state", "model.instance",
)  # fmt: skip


def forbidden(text: str) -> Iterator[str]:
    """Name the rooms of flow and policy that a module imports."""
    for node in ast.walk(ast.parse(text)):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            yield from (f for f in FLOW if name == f"topstitch.{f}" or name.startswith(f"topstitch.{f}."))


def test_V08_no_connector_knows_flow_or_policy() -> None:
    files = list(CONNECTORS.rglob("*.py"))
    assert len(files) > 20
    assert {str(f): found for f in files if (found := list(forbidden(f.read_text(encoding="utf-8"))))} == {}


def test_the_guard_catches_a_connector_that_decides() -> None:
    assert list(forbidden("from topstitch.execution.decide import decide")) == ["execution"]
    assert list(forbidden("import topstitch.governance.policy")) == ["governance"]
    assert list(forbidden("from topstitch.model.action import Effect")) == []
