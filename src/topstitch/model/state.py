"""Where an instance stands: the fold of its journal.

Every value here follows from the records alone. The stages read it to decide; nothing but
a fold makes a new one. Structs are frozen: a fold replaces what changed and shares the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from topstitch.model.instance import Mode, StepStatus
from topstitch.model.record import Stage

NOTHING: Mapping[str, Any] = {}


class ActStatus(StrEnum):
    """Where one write stands."""

    GUARD = "guard"
    """Looking before the first write, so that *found* can be told from *changed*."""
    READY = "ready"
    """May be sent."""
    SENT = "sent"
    """Its intent is committed; an answer is awaited."""
    WAITING = "waiting"
    """A try had no effect; the next one is not due yet."""
    DOUBT = "doubt"
    """Sent, outcome not known; the system is being asked."""
    CONFIRMING = "confirming"
    """The system says done; being read back."""
    DONE = "done"
    """Confirmed."""
    FAILED = "failed"
    """Will not be done by us."""
    CALLED_OFF = "called_off"
    """Never sent, and no longer wanted."""


class Failure(StrEnum):
    """Why a write could not be completed: the classes that a definition must answer for."""

    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"
    DISAGREES = "disagrees"
    SOME_FAILED = "some_failed"
    EXPRESSION = "expression"
    CALLED_OFF = "called_off"

    @property
    def effect(self) -> str:
        """What may be there: ``none``, ``applied`` or ``unknown``."""
        match self:
            case Failure.UNKNOWN:
                return "unknown"
            case Failure.DISAGREES | Failure.SOME_FAILED:
                return "applied"
            case _:
                return "none"


class ActState(msgspec.Struct, frozen=True, kw_only=True):
    """One write being carried out."""

    id: str
    step: str | None
    purpose: str
    system: str
    action: str
    payload: Any
    payload_digest: str
    key: str
    granted: str
    """The decision that releases it: ``auto``, ``declared`` or an approval's id."""
    granted_by: str
    status: ActStatus
    attempt: int = 0
    restarts: int = 0
    """How often an engine died between intent and answer: such an attempt, proved absent, uses up no try."""
    doubtful: bool = False
    """Whether some attempt's outcome is not known and no look-up has cleared it since."""
    lookups: int = 0
    unanswered: int = 0
    """Look-ups in a row that gave no answer."""
    polls: int = 0
    expect: int = 0
    next_at: datetime | None = None
    intent_at: datetime | None = None
    first_intent_at: datetime | None = None
    doubt_since: datetime | None = None
    confirming_since: datetime | None = None
    output: Any = None
    observed: Any = None
    """What the last read-back that agreed has seen."""
    found: bool = False
    record: str | None = None
    url: str | None = None
    failure: Failure | None = None
    problem: Mapping[str, Any] | None = None
    request: Mapping[str, Any] | None = None
    handed_over: bool = False
    """Whether the failure has been dealt with by whoever asked for the act."""
    held: bool = False
    """Whether a pause held its last call back."""


class ApprovalState(msgspec.Struct, frozen=True, kw_only=True):
    """One request for a decision."""

    id: str
    step: str
    payload_digest: str
    people: tuple[Mapping[str, Any], ...]
    quorum: int
    """How many distinct people have to approve in all."""
    asked_at: datetime
    give_up_at: datetime
    next_reminder_at: datetime | None = None
    reminders: int = 0
    escalations: tuple[tuple[datetime, str], ...] = ()
    escalated: int = 0
    sought: int = 0
    """How often the directory did not say whom to ask as well."""
    again_at: datetime | None = None
    """When it is asked again."""
    answers: tuple[tuple[str, str], ...] = ()
    """``(actor, approve | refuse)`` in order."""
    stood_for: Mapping[str, str] = NOTHING
    """Actor -> whom they stood in for, by a delegation."""
    gates: tuple[Mapping[str, Any], ...] = ()
    """``{from, quorum, evidence?}``: each has to be met."""
    barred: tuple[str, ...] = ()
    """Every name, in the directory's words, of those who may not decide."""
    endings: Mapping[str, str] = NOTHING
    """``refused`` and ``unanswered`` -> disposition, when a policy asked and the definition says nothing."""
    ending: str | None = None


class TaskState(msgspec.Struct, frozen=True, kw_only=True):
    """Work that a person does by hand."""

    id: str
    step: str | None
    purpose: str
    index: int
    title: str
    to: str
    people: tuple[Mapping[str, Any], ...]
    opened_at: datetime
    due_at: datetime
    give_up_at: datetime
    escalations: tuple[tuple[datetime, str], ...] = ()
    escalated: int = 0
    said: str | None = None
    """``done`` or ``failed``, once a person said so."""
    output: Any = None
    by: str | None = None
    ending: str | None = None


class CaseState(msgspec.Struct, frozen=True, kw_only=True):
    """One exception case: what a person must know of."""

    id: str
    about: str
    cause: str
    step: str | None = None
    how: str | None = None
    """How it was closed; nothing while it is open."""


class StepState(msgspec.Struct, frozen=True, kw_only=True):
    """Where one step stands."""

    id: str
    status: StepStatus = StepStatus.WAITING
    decided: str | None = None
    """``auto``, ``approve`` or ``deny``: what the last decision on its payload said."""
    gates: tuple[Mapping[str, Any], ...] = ()
    """Who has to release the payload, as that decision says."""
    proposal: Mapping[str, Any] | None = None
    """What an agent proposed, when its payload is an agent's: ``decided_by`` of the policy's facts, and more."""
    input: Any = None
    override: Any = None
    """The payload an operator put in its place."""
    payload_digest: str | None = None
    asks: int = 0
    approval: ApprovalState | None = None
    approval_ms: int = 0
    released_by: str | None = None
    released_at: datetime | None = None
    """When its payload was released; a called workflow's time counts from here."""
    acts: tuple[str, ...] = ()
    output: Any = None
    found: bool = False
    decided_at: datetime | None = None
    started_at: datetime | None = None
    settled_at: datetime | None = None
    failure: Failure | None = None
    effect: str = "none"
    problem: Mapping[str, Any] | None = None
    carried: int = 0
    """How many items of the compensation have been begun."""
    by_hand: bool = False
    """A person did it, as a person says and a read-back agrees."""
    hand_tried: bool = False
    """A person said that it is done; whether it is there is not known unless ``by_hand``."""
    undo_failed: bool = False
    wait_until: datetime | None = None
    """When the wait ends."""
    look_at: datetime | None = None
    """When a call that had no answer is made again."""
    signals: tuple[Mapping[str, Any], ...] = ()
    looked: bool = False
    child: str | None = None
    child_end: Mapping[str, Any] | None = None
    children: int = 0
    """How many called instances came to a bad end before the step was retried."""
    resolves: int = 0


class ContextState(msgspec.Struct, frozen=True, kw_only=True):
    """Where one context read stands."""

    attempt: int = 0
    again_at: datetime | None = None
    settled: bool = False
    failed: bool = False
    problem: Mapping[str, Any] | None = None
    held: bool = False
    """Whether a pause held it back."""


class Tell(msgspec.Struct, frozen=True, kw_only=True):
    """A notice that is still to be sent."""

    key: str
    about: str
    who: tuple[str, ...]
    people: tuple[Mapping[str, Any], ...]
    notice: Mapping[str, Any]
    tries: int = 0
    next_at: datetime | None = None


class CheckState(msgspec.Struct, frozen=True, kw_only=True):
    """Where one reconciliation check stands: ``T+2h``."""

    name: str
    due_at: datetime
    late: bool = False
    only: tuple[str, ...] = ()
    """The records that are read; all of them when empty."""
    sources: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """Context read -> ``{value}`` as it is now, or ``{problem}``: what the system whose word counts says."""
    reads: Mapping[str, CheckRead] = msgspec.field(default_factory=dict)
    done: bool = False


class CheckRead(msgspec.Struct, frozen=True, kw_only=True):
    """Where the reading of one record within a check stands."""

    read: int = 0
    verdict: str | None = None
    again_at: datetime | None = None
    unread_since: datetime | None = None
    fields: tuple[Mapping[str, Any], ...] = ()
    settled: bool = False


class DiscrepancyStatus(StrEnum):
    """Where a disagreement stands (``language.md`` 5.2)."""

    SUSPECTED = "suspected"
    """Seen once; a second read after the settle time decides."""
    CONFIRMED = "confirmed"
    """A second read saw it too."""
    TICKETED = "ticketed"
    """Its ticket knows of it."""
    HEALING = "healing"
    """A repair is proposed or under way."""
    WAIVED = "waived"
    """A person lets it stand until a day."""
    ACCEPTED = "accepted"
    """A person says that what is there is right."""
    SUPERSEDED = "superseded"
    """The source moved on after us: work for an update, no alarm."""
    RESOLVED = "resolved"
    """A read agreed again."""


OVER = frozenset({DiscrepancyStatus.ACCEPTED, DiscrepancyStatus.SUPERSEDED, DiscrepancyStatus.RESOLVED})
"""Statuses that ask nothing more of anybody, unless the difference comes back."""


class DiscrepancyState(msgspec.Struct, frozen=True, kw_only=True):
    """A disagreement of one system's record that outlived its settle time."""

    id: str
    record: str
    system: str
    check: str
    severity: str
    fields: tuple[Mapping[str, Any], ...]
    revision: int = 1
    """Raised by every change that its ticket must hear of."""
    ticketed: int = 0
    """The revision the ticket last heard of."""
    ticket: Mapping[str, Any] | None = None
    status: DiscrepancyStatus = DiscrepancyStatus.CONFIRMED
    times: int = 0
    """How often it came back."""
    waived_until: datetime | None = None
    accepted: Mapping[str, Any] = NOTHING
    """Field -> the value a person accepted: from then on it is what should be there."""
    unhealed: tuple[str, ...] = ()
    """Fields whose repair was refused."""

    @property
    def resolved(self) -> bool:
        """Whether nothing more is asked of anybody."""
        return self.status in OVER


class InstanceState(msgspec.Struct, frozen=True, kw_only=True):
    """Where one instance stands."""

    id: str
    workflow: str = ""
    version: str = ""
    digest: str = ""
    title: str = ""
    correlation: str = ""
    requester: str | None = None
    started_at: datetime | None = None
    event: Mapping[str, Any] = NOTHING
    trigger: Mapping[str, Any] = NOTHING
    rates: Mapping[str, str] = NOTHING
    environment: str = "prod"
    policy: str | None = None
    """The digest of the bundle in force when it began."""
    parent: str | None = None
    parent_step: str | None = None
    stage: Stage = Stage.TRIGGER
    mode: Mode = Mode.FORWARD
    because: str | None = None
    """Why it left the forward way."""
    cancelled: bool = False
    paused: bool = False
    context: Mapping[str, Any] = NOTHING
    context_reads: Mapping[str, ContextState] = NOTHING
    steps: Mapping[str, StepState] = NOTHING
    acts: Mapping[str, ActState] = NOTHING
    tasks: Mapping[str, TaskState] = NOTHING
    flags: Mapping[str, bool] = NOTHING
    tells: Mapping[str, Tell] = NOTHING
    cases: Mapping[str, CaseState] = NOTHING
    context_done_at: datetime | None = None
    executed_at: datetime | None = None
    outcome: str | None = None
    checks: Mapping[str, CheckState] = NOTHING
    discrepancies: Mapping[str, DiscrepancyState] = NOTHING
    heals: Mapping[str, StepState] = NOTHING
    """Repairs, each carried out as a step is: ``heal:<record>.<field>`` (``plan.heals``)."""
    reported: bool = False
    ended: str | None = None
    seq: int = 0

    @property
    def open_cases(self) -> tuple[str, ...]:
        """The cases that nobody has closed yet."""
        return tuple(case.id for case in self.cases.values() if case.how is None)
