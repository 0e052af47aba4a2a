"""The fault list: order, counts, matches, and documents that are no faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from topstitch import simulators
from topstitch.foundation.clock import SimulatedClock
from topstitch.simulators.faults import FaultFormError, FaultKind, Faults
from topstitch.simulators.mangle import reshape


@pytest.fixture
def faults() -> Faults:
    return Faults(SimulatedClock())


def test_the_first_that_matches_and_has_uses_left_is_taken(faults: Faults) -> None:
    faults.add({"kind": "503", "times": 1})
    faults.add({"kind": "500", "times": 1})
    taken = [faults.take("GET", "/x") for _ in range(3)]
    assert [fault and fault.kind for fault in taken] == [FaultKind.UNAVAILABLE, FaultKind.INTERNAL, None]


def test_a_match_names_method_path_and_body(faults: Faults) -> None:
    faults.add({"kind": "500", "match": {"method": "post", "path": "^/users$", "body": "priya"}})
    assert faults.take("POST", "/users", b"priya")
    assert faults.take("POST", "/users?x=1", b"priya")
    assert not faults.take("GET", "/users", b"priya")
    assert not faults.take("POST", "/users/1", b"priya")
    assert not faults.take("POST", "/users", b"noor")


def test_a_query_may_be_matched_too(faults: Faults) -> None:
    faults.add({"kind": "500", "match": {"path": r"correlation_id=ins_1"}})
    assert faults.take("GET", "/incident?sysparm_query=correlation_id=ins_1")
    assert not faults.take("GET", "/incident?sysparm_query=correlation_id=ins_2")


def test_faults_about_writes_leave_reads_alone_and_stale_reads_leave_writes_alone(faults: Faults) -> None:
    faults.add({"kind": "drop_after_commit"})
    assert not faults.take("GET", "/x", is_write=False)
    faults.clear()
    faults.add({"kind": "stale_read"})
    assert not faults.take("POST", "/x", is_write=True)


@pytest.mark.parametrize("form", [{}, {"kind": "flood"}, {"kind": "500", "match": {"path": "("}}])
def test_what_is_no_fault_is_refused(faults: Faults, form: dict[str, Any]) -> None:
    with pytest.raises(FaultFormError):
        faults.add(form)


def test_every_kind_is_said_to_exist_and_explained(faults: Faults) -> None:
    for kind in FaultKind:
        assert faults.add({"kind": kind.value}).described()["kind"] == kind.value


def test_the_readme_names_every_kind() -> None:
    readme = (Path(simulators.__file__).parent / "README.md").read_text(encoding="utf-8")
    assert [kind.value for kind in FaultKind if f"`{kind.value}`" not in readme] == []


def test_a_document_is_bent_at_every_depth() -> None:
    document = {"value": [{"state": "open", "n": "12", "x": 1}], "state": "open"}
    how = {"rename": {"state": "status"}, "retype": {"n": "number"}, "drop": ["x"]}
    assert reshape(document, how) == {"value": [{"status": "open", "n": 12.0}], "status": "open"}
    assert reshape(document, {"set": {"state": "on_the_moon"}})["value"][0]["state"] == "on_the_moon"
