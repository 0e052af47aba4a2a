"""``--jq`` on real data: what it prints, what it refuses, and that a bad filter does nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from support.commands import Ran, called

Run = Callable[..., Ran]


def test_a_filter_prints_what_it_makes_of_the_data(topstitch: Run) -> None:
    items = topstitch("instances", "--json").json()["items"]
    assert topstitch("instances", "--jq", ".items[].id").out.splitlines() == [one["id"] for one in items]
    counted = topstitch("instances", "--jq", ".items | group_by(.status) | map({(.[0].status): length}) | add")
    assert sum(counted.json().values()) == len(items)
    sheet = topstitch("instances", "-o", "csv", "--jq", ".items[] | {id, status}").out.splitlines()
    assert sheet == ["id,status", *(f"{one['id']},{one['status']}" for one in items)]


def test_one_instance_and_each_line_of_its_story_go_through_it(topstitch: Run) -> None:
    name = topstitch("instances", "--jq", ".items[0].id").out.strip()
    shown = topstitch("instance", "show", name, "--jq", "[.steps[].id]")
    assert shown.json() == [one["id"] for one in topstitch("instance", "show", name, "--json").json()["steps"]]
    story = topstitch("instance", "watch", name, "--no-wait", "--jq", 'select(.kind == "ended") | .seq')
    assert story.out.count("\n") == 1


def test_findings_go_through_it_too(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text("workflow: x\nversion: 1\n")
    found = called("validate", str(tmp_path / "w.yaml"), "--jq", ".[].severity")
    assert (found.code, "error" in found.out.split()) == (3, True)


def test_a_bad_filter_is_refused_with_the_words_of_jq_before_anything_is_done(copied: Path) -> None:
    name = called("approvals", "list", "--all", "--data", str(copied), "--jq", ".items[0].instance").out.strip()
    before = called("audit", "show", name, "--data", str(copied), "--json").out
    done = called("instance", "edit", name, "a=1", "-m", "x", "--jq", ".seq[", "--data", str(copied))
    assert (done.code, done.out, "syntax error" in done.err) == (2, "", True)
    assert called("audit", "show", name, "--data", str(copied), "--json").out == before


def test_a_filter_that_does_not_fit_the_data_is_wrong_usage(topstitch: Run) -> None:
    done = topstitch("instances", "--jq", ".items.id")
    assert (done.code, done.out) == (2, "")
    problem = json.loads(done.err)["error"]
    assert problem["code"] == "filter-unfit"
    assert "Cannot index array with string" in problem["message"]


def test_a_command_without_data_says_so(copied: Path, tmp_path: Path) -> None:
    wrote = called("audit", "export", "-o", str(tmp_path / "all"), "--data", str(copied), "--jq", ".x")
    printed = called("audit", "export", "--data", str(copied), "--jq", ".x")
    for done in (wrote, printed):
        assert done.code == 0
        assert ("This command printed no data that --jq could filter." in done.err) is (done is printed)
