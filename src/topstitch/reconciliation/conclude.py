"""Decides what a finished comparison means for the discrepancy of its record.

``decide`` calls it once a second read has said the same. A difference opens a discrepancy,
changes it, or brings it back; agreement resolves it; a source that moved on supersedes it,
which is no alarm. What follows from that (tickets, repairs) is decided elsewhere.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from topstitch.foundation.ids import derived_id
from topstitch.governance.notify import personal_in, tell
from topstitch.model.kinds import Kind
from topstitch.model.record import ENGINE, Draft, Path, Stage
from topstitch.model.state import CheckState, DiscrepancyState, DiscrepancyStatus, InstanceState
from topstitch.plan.plan import Plan, RecordPlan
from topstitch.reconciliation import observe
from topstitch.reconciliation.observe import Row

STAGE: Final = Stage.RECONCILIATION
SEVERITIES: Final = ("low", "medium", "high")


def concluded(
    plan: Plan,
    state: InstanceState,
    record: RecordPlan,
    check: CheckState,
    rows: list[Row],
    url: str | None,
    now: datetime,
) -> list[Draft]:
    """Return the records of a finished comparison: a discrepancy that is opened, changed or resolved."""
    known = latest(state, record.name)
    differing = observe.differing(rows)
    wrong = observe.alarming(differing)
    say = _Say(plan, record, check, url, now)
    if not differing:
        return [say.resolved(known, "agreed")] if known is not None and not known.resolved else []
    if not wrong:
        return _superseded(say, state, known, differing)
    if known is None:
        return [say.differs(Kind.DISCREPANCY_OPENED, discrepancy_id(state, record.name), wrong)]
    if known.resolved or _waiver_is_over(known, wrong, check, now):
        return [say.differs(Kind.DISCREPANCY_REOPENED, known.id, wrong, times=known.times + 1)]
    if known.status is DiscrepancyStatus.WAIVED or known.check == check.name:
        return []
    return _updated(plan, say, known, check, wrong)


def latest(state: InstanceState, record: str) -> DiscrepancyState | None:
    """Return the discrepancy of a record, whatever became of it."""
    return next((d for d in reversed(list(state.discrepancies.values())) if d.record == record), None)


def discrepancy_id(state: InstanceState, record: str) -> str:
    """Return the id of the record's discrepancy: there is one, which may come back."""
    return derived_id("dis", state.id, record, "0")


def _waiver_is_over(known: DiscrepancyState, wrong: list[Row], check: CheckState, now: datetime) -> bool:
    """Whether a waived discrepancy is back: its time is over, or more differs than what was waived."""
    del check
    if known.status is not DiscrepancyStatus.WAIVED:
        return False
    if known.waived_until is None or now >= known.waived_until:
        return True
    return not {row["field"] for row in wrong} <= {row["field"] for row in known.fields}


def _updated(plan: Plan, say: _Say, known: DiscrepancyState, check: CheckState, wrong: list[Row]) -> list[Draft]:
    """A later check raises the severity of what is still there; a read that somebody asked for does not."""
    if is_scheduled(plan, check.name):
        return [say.differs(Kind.DISCREPANCY_UPDATED, known.id, wrong, raised=True)]
    if _seen(wrong) == _seen(known.fields):
        return []
    return [say.differs(Kind.DISCREPANCY_UPDATED, known.id, wrong)]


def is_scheduled(plan: Plan, check: str) -> bool:
    """Whether the definition asks for this check, so that time alone brings it about."""
    return any(check == name for name, _ in plan.reconcile.at) or check.startswith(("month_end", "executed"))


def _seen(rows: Any) -> list[tuple[Any, Any]]:
    return [(row["field"], row["observed"]) for row in rows]


def _superseded(say: _Say, state: InstanceState, known: DiscrepancyState | None, moved: list[Row]) -> list[Draft]:
    if known is None:
        return [say.superseded(discrepancy_id(state, say.record.name), moved)]
    if not known.resolved:
        return [say.resolved(known, "superseded")]
    if known.status is DiscrepancyStatus.SUPERSEDED and _seen(known.fields) == _seen(moved):
        return []
    return [say.superseded(known.id, moved)]


class _Say:
    """Makes the records of one comparison."""

    def __init__(self, plan: Plan, record: RecordPlan, check: CheckState, url: str | None, now: datetime) -> None:
        self.plan, self.record, self.check, self.url, self.now = plan, record, check, url, now

    def differs(self, kind: Kind, name: str, rows: list[Row], *, times: int = 0, raised: bool = False) -> Draft:
        severity = max((row["severity"] for row in rows), key=SEVERITIES.index)
        if raised:
            severity = SEVERITIES[min(SEVERITIES.index(severity) + 1, len(SEVERITIES) - 1)]
        body = self._body(name, rows) | {"severity": severity}
        if times:
            body["times"] = times
        return self._draft(kind, body, observe.personal(self.record, rows))

    def superseded(self, name: str, rows: list[Row]) -> Draft:
        body = self._body(name, rows)
        fields = ", ".join(row["field"] for row in rows)
        system = self.plan.systems[self.record.system].title
        title = f"{self.plan.title}: {fields} in {system} is behind its source"
        text = (
            f"{title}. The source changed after this was carried out, so nothing is wrong with it: "
            "start the workflow that carries changes on, or correct the record."
        )
        body["tell"] = [
            tell(name, f"superseded/{self.check.name}", ("owner",), {"kind": "notice", "title": title, "text": text})
        ]
        return self._draft(
            Kind.DISCREPANCY_SUPERSEDED, body, (*observe.personal(self.record, rows), *personal_in(body))
        )

    def resolved(self, known: DiscrepancyState, how: str) -> Draft:
        return self._draft(
            Kind.DISCREPANCY_RESOLVED, {"discrepancy": known.id, "how": how, "check": self.check.name}, ()
        )

    def _body(self, name: str, rows: list[Row]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "discrepancy": name,
            "record": self.record.name,
            "system": self.record.system,
            "check": self.check.name,
            "fields": rows,
            "owner": self.plan.owner.get("team", ""),
        }
        if self.url is not None:
            body["url"] = self.url
        return body

    def _draft(self, kind: Kind, body: dict[str, Any], personal: tuple[Path, ...]) -> Draft:
        return Draft(
            kind=kind,
            at=self.now,
            actor=ENGINE,
            stage=STAGE,
            step=self.record.covers,
            body=body,
            personal=personal,
        )
