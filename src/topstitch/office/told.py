"""Decides which records programs are told of, and in what words: CloudEvents without a personal value.

The webhooks' feed asks it of every record, in the ledger's order; streams of the API use the same
form. A body names ids, states and systems, which a receiver fetches more about with its own rights;
names, payloads and comments stay here. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from topstitch.foundation.canonical import canonical_bytes, parse
from topstitch.foundation.ids import derived_id
from topstitch.model.kinds import Kind
from topstitch.store.webhooks import LedgerRecord

SOURCE: Final = "topstitch"
TYPES: Final[Mapping[str, str]] = {
    Kind.STARTED: "topstitch.instance.started",
    Kind.ENDED: "topstitch.instance.ended",
    Kind.STEP_DONE: "topstitch.step.done",
    Kind.STEP_FAILED: "topstitch.step.failed",
    Kind.APPROVAL_ASKED: "topstitch.approval.asked",
    Kind.APPROVAL_CLOSED: "topstitch.approval.closed",
    Kind.TASK_OPENED: "topstitch.task.opened",
    Kind.TASK_CLOSED: "topstitch.task.closed",
    Kind.CASE_OPENED: "topstitch.case.opened",
    Kind.CASE_CLOSED: "topstitch.case.closed",
    Kind.DISCREPANCY_OPENED: "topstitch.discrepancy.opened",
    Kind.DISCREPANCY_RESOLVED: "topstitch.discrepancy.resolved",
}
"""The records that are told, and the type of event each is."""
FIELDS: Final = (
    "end", "failure", "effect", "duration_ms", "approval", "quorum", "give_up_at", "ending", "waited_ms", "task",
    "purpose", "system", "due_at", "case", "cause", "seam", "how", "discrepancy", "check", "severity",
)  # fmt: skip
"""What an event says of its record's body: ids, states, systems and times."""


def word(record: LedgerRecord) -> tuple[str, str, str] | None:
    """Return a record as an event: its id, its type and its text; nothing when nobody is told of such records."""
    document = parse(record.text)
    type_ = TYPES.get(document["kind"])
    if type_ is None or record.workflow is None:
        return None
    event = derived_id("evt", record.instance, str(record.seq))
    body = {
        "specversion": "1.0",
        "id": event,
        "source": SOURCE,
        "type": type_,
        "subject": record.instance,
        "time": document["at"],
        "datacontenttype": "application/json",
        "data": data_of(record, document),
    }
    return event, type_, canonical_bytes(body).decode()


def data_of(record: LedgerRecord, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an event says."""
    body = document["body"]
    said = {name: body[name] for name in FIELDS if name in body and not _sealed(body[name])}
    return {
        "instance": record.instance,
        "workflow": record.workflow,
        "version": record.version,
        "seq": record.seq,
        "step": document.get("step"),
        "stage": document.get("stage"),
        **said,
    }


def _sealed(value: Any) -> bool:
    """Whether a value is a commitment to a personal one."""
    return isinstance(value, Mapping) and value.keys() == {"c"}
