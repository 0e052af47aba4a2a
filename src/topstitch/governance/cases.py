"""Decides when something becomes an exception case: what a person must know of, with an owner.

A case is opened once for each cause within an instance, however often the decision is repeated;
what was closed and happens anew is a new one, unless a person has waived it. It names the seam,
both systems, what was asked and answered (redacted), and a remedy (E-18).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from topstitch.foundation.ids import derived_id
from topstitch.governance.notify import personal_in, tell
from topstitch.model.kinds import Kind
from topstitch.model.record import ENGINE, Actor, Draft, Path, Stage
from topstitch.model.state import CaseState, InstanceState
from topstitch.plan.plan import Plan

WAIVED: Final = "waived"
"""How a person closed a case who will not hear of it again."""


def case_id(instance: str, about: str, cause: str, earlier: int = 0) -> str:
    """Return the id that follows from what a case is about, and how many there were before."""
    return derived_id("cas", instance, about, cause, *([str(earlier)] if earlier else []))


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
    same = [case for case in state.cases.values() if (case.about, case.cause) == (about, cause)]
    if any(case.how in (None, WAIVED) for case in same):
        return None
    identity = case_id(state.id, about, cause, len(same))
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
    same = (c for c in state.cases.values() if (c.about, c.cause, c.how) == (about, cause, None))
    return next((closed(case, now, stage, how) for case in same), None)


def closed(case: CaseState, now: datetime, stage: Stage, how: str, actor: Actor = ENGINE, because: str = "") -> Draft:
    """Return the record that closes a case."""
    body: dict[str, Any] = {"case": case.id, "how": how}
    personal: tuple[Path, ...] = ()
    if because:
        body["because"] = because
        personal = (("because",),)
    return Draft(kind=Kind.CASE_CLOSED, at=now, actor=actor, stage=stage, step=case.step, body=body, personal=personal)
