"""One search language for every list: what waits for people is narrowed by the instances that it is of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from browser.seeded import seed
from integration.store.kit import query
from support.commands import called
from topstitch.store import Store, at_once

CASE = (
    "INSERT INTO cases (id, instance, step, cause, to_system, summary, status, opened_at)"
    " VALUES (?, ?, 'identity', 'step', 'entra-id', 'no account', 'open', 1780000000000)"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the seeded story."""
    path = tmp_path_factory.mktemp("story")
    with Store.open(str(path / "topstitch.db"), key_file=path / "installation.key", threads=False) as store:
        for number, hire in enumerate(at_once(seed(store))[:2]):
            at_once(query(store, CASE, f"cas_{number}", hire.id))
    return path


def listed(folder: Path, *words: str) -> Any:
    done = called(*words, "--data", str(folder), "--json")
    assert done.code == 0, done.err
    return done.json()


@pytest.mark.parametrize(
    ("group", "search", "there"),
    [
        ("approvals", "priya", True),
        ("approvals", "lukas", False),
        ("tasks", "lukas state:waiting", True),
        ("tasks", "state:ended", False),
        ("discrepancies", "priya", True),
        ("discrepancies", "older:999d", False),
    ],
)
def test_a_list_is_narrowed_by_a_search_of_instances(folder: Path, group: str, search: str, *, there: bool) -> None:
    everything = listed(folder, group, "list")["items"]
    found = listed(folder, group, "list", "-q", search)["items"]
    assert everything
    assert bool(found) is there
    assert all(row in everything for row in found)


def test_cases_are_narrowed_and_those_of_connections_are_no_instances(folder: Path) -> None:
    cases = [case for group in listed(folder, "exceptions", "list")["groups"] for case in group["cases"]]
    assert len(cases) == 2
    name = cases[0]["instance_title"].split()[0]
    found = listed(folder, "exceptions", "list", "-q", name)["groups"]
    assert {case["instance_title"] for group in found for case in group["cases"]} == {cases[0]["instance_title"]}
    assert listed(folder, "exceptions", "list", "-q", "workflow:other")["groups"] == []


@pytest.mark.parametrize("group", ["approvals", "tasks", "exceptions", "discrepancies"])
def test_an_unknown_field_is_wrong_usage_and_never_ignored(folder: Path, group: str) -> None:
    done = called(group, "list", "-q", "colour:red", "--data", str(folder))
    assert done.code == 2
    assert "a search knows no field 'colour'" in done.err


def test_workflows_are_listed_with_their_versions_and_what_one_changed(folder: Path) -> None:
    (one,) = listed(folder, "workflows", "list")["items"]
    rows = listed(folder, "workflows", "versions", one["workflow"])["items"]
    assert [row["version"] for row in rows if row["status"] == "in_force"] == [one["version"]]
    assert one["open"] == sum(row["open"] for row in rows) > 0
    same = called("workflows", "diff", one["workflow"], one["version"], one["version"], "--data", str(folder))
    assert (same.code, same.out) == (0, "Nothing differs but the version.\n")
    unknown = called("workflows", "diff", one["workflow"], one["version"], "9.9.9", "--data", str(folder))
    assert (unknown.code, "workflows versions" in unknown.err) == (5, True)
    assert called("workflows", "versions", "other", "--data", str(folder)).code == 5
