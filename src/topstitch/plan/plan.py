"""What the stages read: the compiled form of one Definition Version.

``plan.compile`` makes it, the pure stages and the verifier read it; nothing changes it.
All durations are whole seconds. Conditions and payloads are compiled expressions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from topstitch.foundation.ids import jitter
from topstitch.language.expressions import Expression, Template
from topstitch.model.action import ActionContract
from topstitch.model.instance import Disposition
from topstitch.plan.personal import Pattern

JITTER_SHARE = 0.25
"""A wait between tries is up to this share longer than its base, never shorter (E-11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemPlan:
    """One alias of the definition and the connector contract behind it."""

    alias: str
    connector: str
    title: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPlan:
    """How often a call is tried in all, and the waits between."""

    attempts: int
    exponential: bool = True
    first_seconds: int = 10
    max_seconds: int = 300

    def wait_seconds(self, tried: int, key: str) -> float:
        """Return the wait after ``tried`` tries: base times up to ``1 + JITTER_SHARE``."""
        base = self.base_seconds(tried)
        return base * (1 + JITTER_SHARE * jitter(key, tried))

    def base_seconds(self, tried: int) -> int:
        """Return the wait without jitter: first, then doubled each time up to the maximum."""
        if not self.exponential:
            return min(self.first_seconds, self.max_seconds)
        return int(min(self.first_seconds * 2 ** min(tried - 1, 30), self.max_seconds))


CONTEXT_RETRY = RetryPlan(attempts=4, first_seconds=2, max_seconds=60)
"""How often a context read is tried: four times, 2, 4 and 8 s apart."""
LOOK_UP_RETRY = RetryPlan(attempts=5, first_seconds=5, max_seconds=300)
"""How often an unknown outcome is asked after before it counts as not to be known."""
UNDO_RETRY = RetryPlan(attempts=6, first_seconds=10, max_seconds=600)
"""Undos are tried for longer than steps; then a person is asked."""
TICKET_RETRY = RetryPlan(attempts=6, first_seconds=10, max_seconds=600)
"""How often filing an exception ticket is tried before it becomes a task."""
POLL_FIRST_SECONDS = 1
POLL_MAX_SECONDS = 30
"""A read-back is polled after 1, 2, 4 ... 30 seconds until its ``within``."""
OWNER_TASK_DUE_SECONDS = 86_400
OWNER_TASK_GIVE_UP_SECONDS = 3 * 86_400
"""The last resort of an undo that failed: the owner has a day, and after three it stays an open exception."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPlan:
    """One read of the context stage."""

    name: str
    system: str
    action: ActionContract
    params: Template
    when: Expression | None
    optional: bool
    retry: RetryPlan
    personal: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectPlan:
    """One read-back."""

    system: str
    action: ActionContract
    params: Template
    that: Expression
    within_seconds: int
    personal: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActPlan:
    """One write with all it takes to carry it out: tries, look-up, read-backs."""

    system: str
    action: ActionContract
    params: Template
    retry: RetryPlan
    timeout_seconds: float
    expects: tuple[ExpectPlan, ...]
    personal_in: tuple[Pattern, ...]
    personal_out: tuple[Pattern, ...]

    @property
    def can_look_up(self) -> bool:
        """Whether the system can be asked if the write happened."""
        return self.action.lookup is not None

    @property
    def repeatable(self) -> bool:
        """Whether sending again with the same key does no harm."""
        return not self.action.writes or (self.action.idempotency is not None and self.action.idempotency.repeatable)

    @property
    def looks_first(self) -> bool:
        """Whether a look-up stands before the first write."""
        return self.action.idempotency is not None and self.action.idempotency.looks_first and self.can_look_up


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckPlan:
    """One precondition."""

    check: Expression
    because: str
    otherwise: Disposition


@dataclass(frozen=True, slots=True, kw_only=True)
class EscalationPlan:
    """Who is asked as well after this long."""

    after_seconds: int
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndingPlan:
    """What follows a refusal, or silence."""

    then: Disposition
    flag: str | None
    tell: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalPlan:
    """Who releases the step's write, and what each ending leads to."""

    auto_when: Expression | None
    ask: tuple[str, ...]
    quorum: int
    remind_seconds: int | None
    escalate: tuple[EscalationPlan, ...]
    give_up_seconds: int
    refused: EndingPlan
    unanswered: EndingPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPlan:
    """Work by hand."""

    to: str
    title: Template
    due_seconds: int
    escalate: tuple[EscalationPlan, ...]
    give_up_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagPlan:
    """A flag to set."""

    flag: str


CompensationItem = TaskPlan | FlagPlan | ActPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class CompensatePlan:
    """What is done about the consequences, in order, and what becomes of the instance then."""

    items: tuple[CompensationItem, ...]
    done: Disposition
    not_done: Disposition


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitPlan:
    """An event the step waits for."""

    event_type: str
    match: Expression
    give_up_seconds: int
    otherwise: Disposition
    personal: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPlan:
    """Another workflow the step starts and waits for."""

    workflow: str
    params: Template
    give_up_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """One step. Exactly one of ``act``, ``wait`` and ``call`` is there."""

    id: str
    index: int
    title: str
    system: str
    """The alias of the system it works on; ``topstitch`` for a wait or a call."""
    act: ActPlan | None
    wait: WaitPlan | None
    call: CallPlan | None
    items: Expression | None
    items_max: int
    needs: tuple[str, ...]
    after: Mapping[str, int]
    dependents: tuple[str, ...]
    """Steps that need this one or come after it; undone before it."""
    descendants: frozenset[str]
    """Every step that comes to pass only after this one, by whatever way; none of them is undone after it."""
    when: Expression | None
    risk: int
    require: tuple[CheckPlan, ...]
    approval: ApprovalPlan | None
    tell: tuple[str, ...]
    undo: ActPlan | None
    no_undo: str | None
    compensate: CompensatePlan | None
    no_expect: str | None
    importance: str
    pivot: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerPlan:
    """What starts an instance, and what tells instances apart."""

    system: str
    event: str
    event_type: str
    one_per: Template
    about: Template
    requester: Template | None
    when: Expression | None
    personal: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldPlan:
    """What one field of a record should be."""

    field: str
    rule: str
    """``equals``, ``includes``, ``one_of``, ``matches`` or ``absent``."""
    expected: Template | None
    tolerance: str | None
    ignore_case: bool
    severity: str
    authority: str | None
    heal: ActPlan | None
    heal_auto: bool
    format: str | None
    sources: tuple[str, ...] = ()
    """The context reads, of the system whose word counts, that the expected value comes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPlan:
    """One system's record and what it should hold."""

    name: str
    covers: str
    system: str
    action: ActionContract
    params: Template
    settle_seconds: int
    fields: tuple[FieldPlan, ...]
    undone: tuple[ExpectPlan, ...]
    """What should be true once the covered step was undone: the rollback's own read-backs."""
    personal: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcilePlan:
    """When what is compared, and what a difference leads to."""

    at: tuple[tuple[str, int], ...]
    """``("T+2h", 7200)`` in order of time."""
    from_execution: bool
    records: tuple[RecordPlan, ...]
    ticket: ActPlan
    close_ticket: ActPlan | None
    ticket_task: TaskPlan
    month_end: bool = False
    """Whether everything is read once more before the period ends."""
    population: PopulationPlan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SidePlan:
    """One of two whole sets that are compared."""

    system: str
    action: ActionContract
    params: Template
    key: Expression
    since_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PopulationPlan:
    """Which sets are compared, how often, and how long a difference may last before it counts."""

    left: SidePlan
    right: SidePlan
    every_seconds: int
    grace_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SlaPlan:
    """A promise on a group of steps, from the trigger."""

    name: str
    steps: tuple[str, ...]
    within_seconds: int
    excluding_approval: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorPlan:
    """The limits of the three metrics."""

    duration_factor: float
    handoff_target_seconds: int
    handoff_alert_seconds: int
    exception_target: float
    exception_alert: float
    exception_window_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One Definition Version, compiled."""

    workflow: str
    version: str
    digest: str
    title: str
    purpose: str
    owner: Mapping[str, str]
    systems: Mapping[str, SystemPlan]
    trigger: TriggerPlan
    context: Mapping[str, ReadPlan]
    steps: Mapping[str, StepPlan]
    reconcile: ReconcilePlan
    sla: tuple[SlaPlan, ...]
    monitor: MonitorPlan
    flags: tuple[str, ...]
    undo_order: tuple[str, ...] = field(default=())
    """Step ids, dependents before what they depend on."""

    def connector_of(self, alias: str) -> str:
        """Return the connector's name behind an alias, such as ``entra-id``; the alias itself when unknown."""
        system = self.systems.get(alias)
        return system.connector.partition("@")[0] if system else alias
