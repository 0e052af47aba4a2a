"""Decides what requests hold, and what answers are documented to hold.

Bodies of requests are strict: an unknown field is an error. Answers are open: a client ignores what it does
not know, so that a field can be added without a new version.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from topstitch.foundation.timetext import parse_time

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4_000)]
"""What a person or a program says, not empty."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
Version = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")]


def _moment(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("a time is text such as 2026-01-05T09:00:00Z")  # noqa: TRY004 -- what pydantic reports
    try:
        return parse_time(value)
    except ValueError:
        raise ValueError("a time with its zone, such as 2026-01-05T09:00:00Z") from None


When = Annotated[datetime, BeforeValidator(_moment)]
"""A time with its zone."""


class Given(BaseModel):
    """What a request holds."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Shown(BaseModel):
    """What an answer holds at least."""

    model_config = ConfigDict(extra="allow")


# --- What is sent ---------------------------------------------------------------------------------


class Start(Given):
    """Start a workflow by hand."""

    workflow: Name = Field(examples=["employee-onboarding"])
    data: dict[str, Any] = Field(description="The data of the event that the workflow starts on.")


class Signal(Given):
    """Send an event that an instance waits for."""

    type: Name = Field(examples=["salesforce.opportunity_won"])
    data: dict[str, Any]


class Reason(Given):
    """An act and why: kept in the journal."""

    reason: Text = Field(examples=["ServiceNow is back"])


class Waive(Reason):
    """Leave a discrepancy as it is for a time."""

    until: When | None = Field(None, description="When it counts again.")


class Retry(Reason):
    """Try a step again."""

    step: Name | None = Field(None, description="The step; without it, the context reads that failed.")
    input: dict[str, Any] | None = Field(None, description="Fields to put into the step's payload first.")


class Skip(Reason):
    """Leave a step out."""

    step: Name


class Cancel(Reason):
    """End an instance."""

    choice: Literal["rollback", "stop"] = Field(description="Take back what is done, or keep it.")


class Edit(Reason):
    """Change process data."""

    path: Name = Field(examples=["trigger.location"])
    value: Any


class Reassign(Reason):
    """Give an open approval or task to somebody else."""

    item: Name = Field(description="The approval or task.")
    to: Name = Field(description="An address.")


class DecisionGiven(Given):
    """Decide on an approval."""

    decision: Literal["approve", "refuse"]
    reason: Text | None = Field(None, description="Why; required where the policy asks for evidence.")
    payload_digest: str | None = Field(None, description="Refuse unless this payload is what is asked about.")


class TaskDone(Given):
    """Hand a task in."""

    output: dict[str, Any] = Field(default_factory=dict, description="What the task's form asks for.")
    comment: Text | None = None


class DraftGiven(Given):
    """Hand a definition in as a draft."""

    text: str = Field(min_length=1, max_length=500_000, description="The definition, as its author writes it.")


class PlanGiven(Given):
    """Ask what publishing would change."""

    text: str | None = Field(None, max_length=500_000, description="A definition; or name a draft's version.")
    version: Version | None = None


class Publish(Given):
    """Put a draft in force."""

    plan_digest: Name = Field(description="What plan answered: nothing is published that nobody looked at.")


class PolicyCase(Given):
    """Ask what a policy bundle says of facts: what its own tests give."""

    given: dict[str, Any] = Field(
        examples=[{"step": {"action": "entra-id.create_user", "risk": 3}, "trigger": {"department": "Sales"}}]
    )


class PolicyGiven(Given):
    """Publish a policy bundle."""

    files: dict[Name, str] = Field(
        min_length=1, max_length=100, description="The bundle's files: name to text, as in its folder."
    )
    parent: Name | None = Field(None, description="Refuse unless this bundle is in force; without it, the one now.")
    dry_run: bool = Field(default=False, description="Check, test and compare, and publish nothing.")


class BatchPreview(Given):
    """Choose instances and see what would become of each."""

    action: Literal["retry", "skip", "pause", "resume", "cancel", "edit"]
    reason: Text
    q: str | None = Field(None, max_length=500, description="A search; or name instances.")
    instances: list[Name] | None = Field(None, max_length=1_000)
    group: Name | None = Field(None, description="All open cases of this cause, as exceptions name it.")
    step: Name | None = None
    choice: Literal["rollback", "stop"] | None = None
    edits: list[Name] = Field(default_factory=list, max_length=50, examples=[["trigger.location=Berlin"]])


class BatchStart(Given):
    """Carry out exactly what was previewed."""

    selection: Name
    action: Name
    reason: Text
    expect_count: int = Field(ge=0)
    rate: float = Field(5.0, ge=0.1, le=100, description="At most so many a second.")


class ExportGiven(Given):
    """Choose the records to export."""

    format: Literal["jsonl", "csv", "ocsf"] = "jsonl"
    since: When | None = None
    until: When | None = None


Signature = Annotated[
    Literal["v1", "v1a"],
    Field(description="v1: a secret that you share; v1a: an Ed25519 key of which you get the public half."),
]

SHARED: Final[list[Signature]] = ["v1"]


class WebhookGiven(Given):
    """Who wants to be told of what."""

    url: str = Field(max_length=2_000, examples=["https://hooks.example.com/topstitch"])
    types: list[Annotated[str, StringConstraints(pattern=r"^(\*|topstitch\.[a-z_.]*\*?)$")]] = Field(
        default_factory=lambda: ["*"], min_length=1, max_length=30
    )
    description: str | None = Field(None, max_length=300)
    signatures: list[Signature] = Field(default_factory=SHARED.copy, min_length=1, max_length=2)


class WebhookChanged(Given):
    """What is to be different; what is left out stays."""

    url: str | None = Field(None, max_length=2_000)
    types: list[Annotated[str, StringConstraints(pattern=r"^(\*|topstitch\.[a-z_.]*\*?)$")]] | None = Field(
        None, min_length=1, max_length=30
    )
    description: str | None = Field(None, max_length=300)
    status: Literal["enabled", "disabled"] | None = None


class SecretRotated(Given):
    """How long the old secret or key signs beside the new one, and how messages are signed from then on."""

    overlap_hours: int = Field(24, ge=0, le=24 * 30)
    signatures: list[Signature] | None = Field(None, min_length=1, max_length=2)


class ViewGiven(Given):
    """Keep a search under a name."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
    q: str = Field("", max_length=500)
    list: Literal["instances"] = "instances"
    shared: bool = False


class TokenGiven(Given):
    """Make an API token."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
    scopes: list[Name] = Field(min_length=1, max_length=60, examples=[["instances.read"]])
    days: int = Field(90, ge=1, le=365)


# --- What is answered -----------------------------------------------------------------------------


class Problem(Shown):
    """What went wrong (RFC 9457), whose turn it is, and the remedy."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    retryable: bool


class InstanceShown(Shown):
    """One instance, as lists show it."""

    id: str
    workflow: str
    version: str
    title: str | None
    status: str
    stage: str
    started_at: str
    changed_at: str
    ended_at: str | None = None
    waiting_on: str | None = None


class PageOf(Shown):
    """One page of a list."""

    items: list[dict[str, Any]]
    next: str | None = Field(description="The cursor of the page after this one: send it as after.")
    count: int | None = Field(None, description="How many match in all, with count=exact.")


class InstancePage(Shown):
    """One page of instances."""

    items: list[InstanceShown]
    next: str | None
    count: int | None = None


class Recorded(Shown):
    """What was recorded."""

    instance: str
    seq: int
    actor: str


class Previewed(Shown):
    """What would become of it; nothing was recorded."""

    says: list[str]


class Started(Shown):
    """What an event started."""

    instances: list[str]


class Resource(Shown):
    """One resource."""


class Nothing(Shown):
    """Nothing more to say."""
