"""Each key of the shipped file, removed or spoiled, gives an error near it and never a traceback."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from support.definitions import checked, onboarding_text
from topstitch.language.load import load

DATA = load(onboarding_text(), "f").data
FREE = {"data"}  # what an action takes as it comes

# Left out without harm: the schema has a default or the thing is optional by meaning.
OPTIONAL = {
    "page", "about", "context", "risk", "require", "otherwise", "approval", "auto_when", "remind", "escalate", "tell",
    "flag", "retry", "backoff", "first", "max", "within", "expect", "needs", "after", "when", "settle", "heal", "T",
    "of", "excluding", "monitor", "step_duration", "alert_over", "handoff", "target", "exceptions", "window", "with",
    "manager_upn", "employee_id", "remove_groups", "update_asset", "quota", "directory", "itsm", "crm", "email", "chat",
    "provisioned", "account", "welcomed", "equipment", "crm_assignment",
}  # fmt: skip


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in entries:
        yield (*path, key)
        yield from paths(item, (*path, key))


def kinds() -> list[tuple[Any, ...]]:
    """One path for each kind of place: the same key of two steps is the same kind."""
    seen: dict[tuple[str, ...], tuple[Any, ...]] = {}
    for path in paths(DATA):
        named = {"steps": 1, "context": 1, "systems": 1, "sla": 1}.get(path[0], 2 if path[1:2] == ("records",) else -1)
        generic = tuple("*" if isinstance(part, int) or at == named else part for at, part in enumerate(path))
        seen.setdefault(generic, path)
    return [path for path in seen.values() if not FREE & set(path) and not isinstance(path[-1], int)]


def mutated(path: tuple[Any, ...], value: Any = None) -> str:
    data = copy.deepcopy(DATA)
    parent = data
    for part in path[:-1]:
        parent = parent[part]
    if value is None:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return yaml.safe_dump(data, sort_keys=False)


def near(path: tuple[Any, ...], found: tuple[Any, ...]) -> bool:
    return found[: len(path) - 1] == path[:-1] or path[: len(found)] == found


@pytest.mark.parametrize("path", kinds(), ids=lambda path: ".".join(map(str, path)))
def test_a_spoiled_key_gives_an_error_at_it(path: tuple[Any, ...]) -> None:
    result = checked(mutated(path, {"nonsense": [1]}))[1]
    assert any(near(path, finding.path) for finding in result.errors)


@pytest.mark.parametrize("path", kinds(), ids=lambda path: ".".join(map(str, path)))
def test_a_removed_key_gives_an_error_that_names_it(path: tuple[Any, ...]) -> None:
    result = checked(mutated(path))[1]
    name = str(path[-1])
    related = [f for f in result.errors if near(path, f.path) or f"'{name}'" in f.message or name in f.message]
    if result.errors:
        assert related or path[-1] in OPTIONAL, result.errors
    else:
        assert path[-1] in OPTIONAL


@pytest.mark.parametrize("at", range(0, len(onboarding_text()), 397))
def test_a_file_cut_off_anywhere_is_no_traceback(at: int) -> None:
    document, result = checked(onboarding_text()[:at])
    assert result.findings
    assert all(1 <= finding.span.line <= len(document.lines) + 1 for finding in result.findings)
