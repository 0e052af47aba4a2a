"""Decides when something becomes an exception case: what a person must know of, with an owner.

A case is opened once for each cause within an instance: its id follows from what it is
about, so that repeating the decision opens no second one. It names the seam, both systems,
what was asked and answered (redacted), and a remedy (E-18).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from topstitch.foundation.ids import derived_id
from topstitch.governance.notify import personal_in, tell
from topstitch.model.kinds import Kind
from topstitch.model.record import ENGINE, Draft, Stage
from topstitch.model.state import InstanceState
from topstitch.plan.plan import Plan


def case_id(instance: str, about: str, cause: str) -> str:
    """Return the id that follows from what a case is about."""
    return derived_id("cas", instance, about, cause)


def open_case(
    plan: Plan,
    state: InstanceState,
    now: datetime,
    stage: Stage,
    *,
    about: str,
    cause: str,
    summary: str,
    remedy: str,
    step: str | None = None,
    seam: Mapping[str, str] | None = None,
    problem: Mapping[str, Any] | None = None,
    request: Mapping[str, Any] | None = None,
    attempt: int | None = None,
    to: str = "owner",
) -> Draft | None:
    """Return the record that opens a case, or nothing when this instance has it already."""
    identity = case_id(state.id, about, cause)
    if identity in state.cases:
        return None
    body: dict[str, Any] = {"case": identity, "cause": cause, "about": about, "owner": to, "summary": summary}
    body["remedy"] = remedy
    parts = {"seam": seam, "problem": problem, "request": request, "attempt": attempt}
    body |= {name: value for name, value in parts.items() if value is not None}
    notice = {"kind": "case", "title": f"{plan.title}: {summary}", "text": f"{summary}. {remedy}"}
    body["tell"] = [tell(identity, "opened", (to,), notice)]
    personal = (("summary",), *personal_in(body))
    return Draft(kind=Kind.CASE_OPENED, at=now, actor=ENGINE, stage=stage, step=step, body=body, personal=personal)


def close_case(state: InstanceState, now: datetime, stage: Stage, *, about: str, cause: str, how: str) -> Draft | None:
    """Return the record that closes a case which is still open, or nothing."""
    identity = case_id(state.id, about, cause)
    if not state.cases.get(identity):
        return None
    body = {"case": identity, "how": how}
    return Draft(kind=Kind.CASE_CLOSED, at=now, actor=ENGINE, stage=stage, body=body)
