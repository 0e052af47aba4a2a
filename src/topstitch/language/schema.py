"""The shape of a Workflow Definition, as authors write it.

``language.check`` validates documents against it, ``plan.compile`` reads it, and
``topstitch schema`` exports it as JSON Schema for editors. Durations, references and
expressions stay text here; the plan gives them meaning.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StringConstraints, Tag


def _condition_text(value: object) -> object:
    """Accept ``true`` and ``false`` where a condition is wanted: YAML reads them as booleans."""
    return {True: "true", False: "false"}.get(value, value) if isinstance(value, bool) else value


Ident = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
"""The name of a step, a system alias, a context read, a flag."""
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$")]
Duration = Annotated[str, StringConstraints(pattern=r"^[0-9]+(s|m|h|d)$")]
"""A whole number and s, m, h or d."""
Condition = Annotated[str, BeforeValidator(_condition_text), Field(json_schema_extra={"x-language": "cel"})]
"""A bare CEL expression that is true or false."""
ActionRef = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")]
"""``alias.action``."""
Who = Annotated[str, StringConstraints(min_length=1)]
"""``manager_of(subject)``, ``group:x``, ``role:x``, ``owner``, ``requester`` or a person's id."""
Payload = dict[str, Any]
"""Literal values, ``= expression`` and ``"text ${expression}"``, nested as the action wants them."""
Severity = Literal["low", "medium", "high"]
Disp = Literal["continue", "rollback", "stop"]


def _by_key(key: str, present: str, absent: str) -> Discriminator:
    """Choose between two forms by one key, so that an author is told about one form only.

    The tags stand in angle brackets: they turn up in the paths of errors and are dropped there.
    """

    def choose(value: object) -> str:
        return (
            present
            if (isinstance(value, dict) and key in value) or type(value).__name__ == present.strip("<>")
            else absent
        )

    return Discriminator(choose)


def _by_type(kind: type, then: str, otherwise: str) -> Discriminator:
    """Choose between two forms by the type of what is written."""
    return Discriminator(lambda value: then if isinstance(value, kind) else otherwise)


Text = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]
"""What a person reads; never empty."""


class Closed(BaseModel):
    """A mapping in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, frozen=True, defer_build=True)


class Owner(Closed):
    """The team that answers for the process end to end (V-11)."""

    team: Text
    page: Text | None = None


class Trigger(Closed):
    """The one business event that starts an instance, and how instances are kept apart."""

    on: ActionRef
    one_per: str
    about: str | None = None
    """What a person calls the business thing; the instance's title. Default: ``one_per``."""
    requester: str | None = None
    when: Condition | None = None
    non_business: str | None = None
    """Why a schedule, and no business event, may start this (T-02)."""


class Read(Closed):
    """One read of the context stage. ``optional`` goes on without it; else a failed read stops the instance."""

    read: ActionRef
    with_: Payload = Field(default_factory=dict, alias="with")
    when: Condition | None = None
    optional: bool = False


class Check(Closed):
    """A precondition. False is a decision, not a failure."""

    check: Condition
    because: Text
    otherwise: Disp = "stop"


class Expect(Closed):
    """A read-back after a write, polled until ``that`` holds or ``within`` has passed."""

    read: ActionRef
    with_: Payload = Field(default_factory=dict, alias="with")
    that: Condition
    within: Duration = "5m"


class NoExpect(Closed):
    """The waiver of a read-back (E-05); the reason is shown in the audit."""

    none: Text


class Escalation(Closed):
    """Who is asked as well once nobody has answered for this long."""

    after: Duration
    to: Who


class Gate(Closed):
    """Who is asked, and until when. A gate without an end would be a silent stall."""

    from_: Annotated[
        Annotated[Who, Tag("<one>")] | Annotated[list[Who], Field(min_length=1), Tag("<list>")],
        _by_type(list, "<list>", "<one>"),
    ] = Field(alias="from")
    quorum: int = Field(default=1, ge=1, le=5)
    remind: Duration | None = None
    escalate: list[Escalation] = Field(default_factory=list)
    give_up: Duration


class Ending(Closed):
    """What becomes of the instance when a person refuses, or nobody answers."""

    then: Disp
    flag: Ident | None = None
    tell: list[Who] = Field(default_factory=list)


class Approval(Closed):
    """The four endings of an approval: automatic, approved, refused, unanswered."""

    auto_when: Condition | None = None
    otherwise: Gate
    refused: Ending
    unanswered: Ending


class Retry(Closed):
    """How often a call is tried in all, and how long between tries."""

    attempts: int = Field(ge=1, le=20)
    backoff: Literal["fixed", "exponential"] = "exponential"
    first: Duration = "10s"
    max: Duration = "5m"


class Task(Closed):
    """Work a person does by hand in a step's stead."""

    to: Who
    title: Text
    due: Duration
    escalate: list[Escalation] = Field(default_factory=list)
    give_up: Duration


class TaskItem(Closed):
    """Open a task."""

    task: Task


class FlagItem(Closed):
    """Set a flag that later steps read."""

    flag: Ident


class ActionItem(Closed):
    """Carry out a further action."""

    do: ActionRef
    with_: Payload = Field(default_factory=dict, alias="with")
    retry: Retry | None = None


def _item_form(value: object) -> str:
    keys = (
        set(value)
        if isinstance(value, dict)
        else {{"TaskItem": "task", "FlagItem": "flag"}.get(type(value).__name__, "do")}
    )
    return "<TaskItem>" if "task" in keys else "<FlagItem>" if "flag" in keys else "<ActionItem>"


Item = Annotated[
    Annotated[TaskItem, Tag("<TaskItem>")]
    | Annotated[FlagItem, Tag("<FlagItem>")]
    | Annotated[ActionItem, Tag("<ActionItem>")],
    Discriminator(_item_form),
]
"""One line of a compensation: a task, a flag, or a further action."""


class Then(Closed):
    """The disposition once the tasks have ended: done by hand, or never done."""

    done: Disp
    not_done: Disp


class Compensate(Closed):
    """What is done about the consequences when the step cannot be completed."""

    do: list[Item] = Field(default_factory=list)
    then: Annotated[
        Annotated[Disp, Tag("<one>")] | Annotated[Then, Tag("<Then>")],
        Discriminator(lambda value: "<one>" if isinstance(value, str) else "<Then>"),
    ]


class Undo(Closed):
    """How the step's own effect is taken back."""

    do: ActionRef
    with_: Payload = Field(default_factory=dict, alias="with")
    retry: Retry | None = None
    expect: list[Expect] = Field(default_factory=list)


class NoUndo(Closed):
    """Why nothing is to be undone, or can be."""

    none: Text


class WaitFor(Closed):
    """Wait for an event that belongs to this instance. The event's data is the step's output."""

    event: ActionRef
    match: Condition
    give_up: Duration
    otherwise: Disp


class ForEach(Closed):
    """Carry the step out once for each item, each with its own idempotency key. ``item`` is in scope."""

    items: str
    max: int = Field(ge=1, le=1000)


class CallWorkflow(Closed):
    """Start an instance of another workflow with this trigger data, and wait for its end."""

    workflow: Slug
    with_: Payload = Field(default_factory=dict, alias="with")
    give_up: Duration


class Step(Closed):
    """One step: exactly one of ``do``, ``wait_for`` and ``call``."""

    title: Text
    do: ActionRef | None = None
    wait_for: WaitFor | None = None
    call: CallWorkflow | None = None
    for_each: ForEach | None = None
    needs: list[Ident] = Field(default_factory=list)
    after: dict[Ident, Duration] = Field(default_factory=dict)
    when: Condition | None = None
    risk: int | None = Field(default=None, ge=1, le=4)
    with_: Payload = Field(default_factory=dict, alias="with")
    require: list[Check] = Field(default_factory=list)
    approval: Approval | None = None
    retry: Retry = Field(default_factory=lambda: Retry(attempts=1))
    timeout: Duration = "30s"
    pivot: bool = False
    expect: Annotated[
        Annotated[list[Expect], Tag("<list>")] | Annotated[NoExpect, Tag("<NoExpect>")],
        _by_type(list, "<list>", "<NoExpect>"),
    ] = Field(default_factory=list)
    tell: list[Who] = Field(default_factory=list)
    """Who is told once the step is done. A notice is no gate (A-11)."""
    importance: Literal["low", "normal"] = "normal"
    rollback: (
        Annotated[
            Annotated[Undo, Tag("<Undo>")] | Annotated[NoUndo, Tag("<NoUndo>")], _by_key("none", "<NoUndo>", "<Undo>")
        ]
        | None
    ) = None
    compensate: Compensate | None = None


class FieldRule(Closed):
    """What one field of a system's record should be."""

    field: str
    equals: Any | None = None
    includes: Any | None = None
    one_of: (
        Annotated[Annotated[list[Any], Tag("<list>")] | Annotated[str, Tag("<one>")], _by_type(list, "<list>", "<one>")]
        | None
    ) = None
    matches: str | None = None
    absent: bool | None = None
    within: str | None = None
    """Tolerance beside ``equals``: an amount of money, a number, or a duration."""
    ignore_case: bool = False
    severity: Severity
    authority: Ident | None = None
    """The system whose later change of this field is legitimate."""
    heal: ActionRef | None = None
    heal_with: Payload | None = None
    mode: Literal["propose", "auto"] = "propose"


class ReconcileRecord(Closed):
    """One system's record, the step that wrote it, and what it should hold."""

    covers: Ident
    read: ActionRef
    with_: Payload = Field(default_factory=dict, alias="with")
    settle: Duration | None = None
    expect: list[FieldRule]


class OnDifference(Closed):
    """What is done about a confirmed difference: one exception ticket for each instance and system."""

    do: ActionRef
    with_: Payload = Field(alias="with")
    if_that_fails: TaskItem


class PopulationSide(Closed):
    """A set of records read from one system, and the key of each."""

    read: ActionRef
    with_: Payload = Field(default_factory=dict, alias="with")
    key: str
    since: Duration


class Population(Closed):
    """The comparison of two whole sets: nobody missing, nobody extra, nobody twice."""

    every: Duration
    left: PopulationSide
    right: PopulationSide
    expect: Literal["one_to_one"] = "one_to_one"
    grace: Duration = "24h"


class Reconcile(Closed):
    """When and what is compared with what should be."""

    at: list[Annotated[str, StringConstraints(pattern=r"^(T\+[0-9]+(m|h|d)|month_end)$")]] = Field(min_length=1)
    T: Literal["trigger", "executed"] = "trigger"
    settle: Duration = "5m"
    records: dict[Ident, ReconcileRecord]
    on_difference: OnDifference
    population: Population | None = None


class Sla(Closed):
    """A promise: these steps are done within this time of the trigger."""

    steps: list[Ident] = Field(min_length=1)
    within: Duration
    of: Literal["trigger"] = "trigger"
    excluding: Literal["approval_wait"] | None = None


class StepDurationLimit(Closed):
    """When a step's duration is reported."""

    alert_over: Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?x baseline$")] = "2x baseline"


class HandoffLimit(Closed):
    """The target of an automated handoff, and when it is reported."""

    target: Duration = "60s"
    alert_over: Duration = "5m"


Percent = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?%$")]


class ExceptionLimit(Closed):
    """The target share of exceptions at a seam, and when it is reported."""

    target: Percent = "1%"
    alert_over: Percent = "3%"
    window: Duration = "24h"


class Monitor(Closed):
    """The limits of the three metrics."""

    step_duration: StepDurationLimit = Field(default_factory=StepDurationLimit)
    handoff: HandoffLimit = Field(default_factory=HandoffLimit)
    exceptions: ExceptionLimit = Field(default_factory=ExceptionLimit)


class Workflow(Closed):
    """A Workflow Definition: one process, all its systems, all five stages."""

    model_config = ConfigDict(
        extra="forbid", populate_by_name=True, frozen=True, defer_build=True, title="Topstitch workflow definition, v1"
    )

    workflow: Slug
    version: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")]
    title: Text
    purpose: Text
    owner: Owner
    systems: dict[Ident, Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*@[0-9]+$")]]
    trigger: Trigger
    context: dict[Ident, Read] = Field(default_factory=dict)
    steps: dict[Ident, Step] = Field(min_length=1, max_length=300)
    reconcile: Reconcile
    sla: dict[Ident, Sla] = Field(min_length=1)
    monitor: Monitor = Field(default_factory=Monitor)
