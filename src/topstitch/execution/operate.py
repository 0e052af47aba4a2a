"""Decides what an operator's command may do to an instance, and records it with actor and reason.

``lifecycle.operate`` hands a command in; the answer is drafts, appended from outside under a
guard on the journal's head, so that a command never acts on a picture that has moved. The
folds of these records are here too. Nothing here sends anything: the next activation does
what the command made due. A command that cannot be carried out says why, and what can.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from topstitch.attempts.fold import Entry
from topstitch.attempts.machine import TERMINAL
from topstitch.execution.begin import rendered
from topstitch.execution.carry import GOOD_ENDS, effect_of
from topstitch.foundation.canonical import digest
from topstitch.foundation.errors import ConflictError, NotAllowedError, NotFoundError, RequestError
from topstitch.governance import cases, tasks
from topstitch.governance.notify import gathered, personal_in, tell
from topstitch.language.expressions import ExpressionError
from topstitch.model.instance import Mode, StepStatus
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, ActorKind, Draft, Path, Stage
from topstitch.model.state import ActState, CaseState, ContextState, InstanceState, StepState, TaskState
from topstitch.plan.plan import Plan
from topstitch.plan.rollback_order import transitive_needs

RETRIED: Final = "retried"
CLOSES: Final[Mapping[str, str]] = {"retry": RETRIED, "skip": "skipped", "reassign": "reassigned"}
"""Commands that are the answer to a case, and how it is closed by them."""
RETRYABLE: Final = frozenset(
    {
        StepStatus.COMPENSATING,
        StepStatus.GIVEN_UP,
        StepStatus.DECLINED,
        StepStatus.NOT_RUN,
        StepStatus.SKIPPED,
    }
)
SKIPPABLE: Final = frozenset(
    {StepStatus.WAITING, StepStatus.ASKING, StepStatus.COMPENSATING, StepStatus.GIVEN_UP, StepStatus.DECLINED}
)


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator wants. ``name`` is retry, skip, pause, resume, cancel, edit or reassign."""

    name: str
    reason: str
    step: str | None = None
    input: Mapping[str, Any] | None = None
    choice: str | None = None
    path: str | None = None
    value: Any = None
    item: str | None = None
    """The approval or task to reassign."""
    people: tuple[Mapping[str, Any], ...] = ()
    proposal: Mapping[str, Any] | None = None
    """What an agent proposes with a retry: ``agents.decided_by`` and ``Proposal.body``, joined."""


def operate(plan: Plan, state: InstanceState, command: Command, actor: Actor, now: datetime) -> list[Draft]:
    """Return the records of a command; raise ``ConflictError`` or ``RequestError`` when it cannot be carried out."""
    if not command.reason.strip():
        raise RequestError("no-reason", "a command is kept with its reason; say why with --reason")
    match command.name:
        case "retry":
            body, personal = _retry(plan, state, command)
        case "skip":
            body, personal = _skip(state, command), ()
        case "pause" | "resume":
            body, personal = _pause(state, command), ()
        case "cancel":
            body, personal = _cancel(state, command), ()
        case "edit":
            body, personal = _edit(state, command)
        case "reassign":
            body, personal = _reassign(state, command)
        case _:
            raise RequestError("unknown-command", f"there is no command {command.name}; see topstitch instance --help")
    body = {"command": command.name, "reason": command.reason, **body, **_proposed(command, actor)}
    kept = ((("reason",),) if command.reason else ()) + personal + personal_in(body)
    if body.get("proposal", {}).get("reason"):
        kept += (("proposal", "reason"),)
    closings: list[Draft] = []
    if command.name == "skip":
        closings = _closings(state, command, actor, now)
    elif command.name == "retry":
        mine = [t for t in state.tasks.values() if t.step in body["steps"] and t.ending is None]
        closings = [tasks.close_task(task, now, state.stage, "withdrawn") for task in mine]
    closings += [
        cases.closed(case, now, state.stage, CLOSES[command.name], actor, command.reason)
        for case in state.cases.values()
        if case.how is None and command.name in CLOSES and _is_dealt_with(case, command, body)
    ]
    draft = Draft(
        kind=Kind.OPERATOR_COMMANDED,
        at=now,
        actor=actor,
        stage=state.stage,
        step=command.step,
        body=body,
        personal=kept,
    )
    return [draft, *closings]


def _closings(state: InstanceState, command: Command, actor: Actor, now: datetime) -> list[Draft]:
    """Return the records by which a skipped step's open tasks and approval are withdrawn."""
    step = state.steps[command.step or ""]
    drafts = [tasks.close_task(t, now, state.stage, "withdrawn") for t in state.tasks.values() if _is_open(t, step)]
    if step.approval is not None and step.approval.ending is None:
        body = {
            "approval": step.approval.id,
            "ending": "withdrawn",
            "by": [str(actor)],
            "payload_digest": step.approval.payload_digest,
            "waited_ms": max(round((now - step.approval.asked_at).total_seconds() * 1000), 0),
        }
        closed = Draft(kind=Kind.APPROVAL_CLOSED, at=now, actor=actor, stage=state.stage, step=step.id, body=body)
        drafts.append(closed)
    return drafts


def _is_open(task: TaskState, step: StepState) -> bool:
    return task.step == step.id and task.ending is None


def _proposed(command: Command, actor: Actor) -> dict[str, Any]:
    """Return what the record keeps of an agent's proposal; raise when an agent wants more than to propose."""
    if actor.kind is not ActorKind.AGENT:
        return {}
    if command.name != "retry" or command.step is None or command.proposal is None:
        message = f"{actor} may propose a retry of a step, never {command.name}; a person has to do it"
        raise NotAllowedError("agent-never", message)
    return {"proposal": dict(command.proposal)}


def _named(plan: Plan, state: InstanceState, command: Command) -> StepState:
    if command.step is None or command.step not in state.steps:
        known = ", ".join(plan.steps)
        raise NotFoundError("unknown-step", f"{plan.workflow} has no step {command.step!r}; its steps are {known}")
    return state.steps[command.step]


def _retry(plan: Plan, state: InstanceState, command: Command) -> tuple[dict[str, Any], tuple[Path, ...]]:
    if state.mode is Mode.ROLLING_BACK or state.ended in ("rolled_back", "rolled_back_with_exceptions"):
        raise ConflictError("rolling-back", f"{state.id} is rolled back; start a new instance instead")
    if command.step is None:
        failed = [name for name, read in state.context_reads.items() if read.failed]
        if not failed:
            raise ConflictError(
                "nothing-to-retry", f"{state.id} has no context read that failed; name a step with --step"
            )
        return {"context": failed, "steps": list(plan.steps)}, ()
    step = _named(plan, state, command)
    _require_retryable(plan, state, step)
    before, after, payload = _payload(plan, state, step, command)
    if step.effect != "none" and step.child_end is None and payload != step.payload_digest:
        raise ConflictError(
            "outcome-unknown",
            f"{step.id} may be there as it was sent, and would now send something else; "
            "look in the system, then complete its task or cancel the instance",
        )
    waits = {name: (*s.needs, *s.after) for name, s in plan.steps.items()}
    again = [
        name
        for name, other in state.steps.items()
        if name == step.id or (other.status is StepStatus.NOT_RUN and step.id in transitive_needs(waits, name))
    ]
    if state.mode is not Mode.FORWARD or state.ended:
        again += [n for n, other in state.steps.items() if other.status is StepStatus.NOT_RUN and n not in again]
    body: dict[str, Any] = {"steps": again}
    personal: tuple[Path, ...] = ()
    if command.input is not None:
        body |= {"input": after, "before": {k: before.get(k) for k in command.input}}
        personal = (("input",), ("before",))
    return body, personal


def _require_retryable(plan: Plan, state: InstanceState, step: StepState) -> None:
    """Raise unless the step came to nothing, and what it may have left behind can be asked after."""
    if step.status not in RETRYABLE:
        raise ConflictError("not-retryable", f"{step.id} is {step.status}; only a step that came to nothing is retried")
    if state.context_done_at is None:
        raise ConflictError(
            "not-retryable",
            f"{step.id} was never begun, because the context could not be read; retry {state.id} without naming a step",
        )
    _require_at_rest(state, step, "not-retryable")
    action = plan.steps[step.id].act
    if step.hand_tried:
        raise ConflictError(
            "done-by-hand", f"a person said that {step.id} is done; look in the system before anything is sent again"
        )
    if step.effect != "none" and action is not None and not action.can_look_up and not action.repeatable:
        raise ConflictError(
            "outcome-unknown",
            f"whether {step.id} happened is not known and cannot be asked; "
            "look in the system, then complete its task or cancel the instance",
        )


def _require_at_rest(state: InstanceState, step: StepState, code: str) -> None:
    """Raise while a further action of the step's compensation is under way: its answer must find its step."""
    if any(a.step == step.id and a.purpose == "compensate" and a.status not in TERMINAL for a in state.acts.values()):
        raise ConflictError(
            code, f"what was declared for the failure of {step.id} is being carried out; wait until that has ended"
        )


def _payload(
    plan: Plan, state: InstanceState, step: StepState, command: Command
) -> tuple[Mapping[str, Any], Mapping[str, Any], str | None]:
    """Return the step's input before and after the command's changes, and the digest of what would be sent now."""
    step_plan = plan.steps[step.id]
    before = step.input if isinstance(step.input, dict) else {}
    if command.input is None:
        try:
            return before, before, digest(rendered(plan, step_plan, state))
        except ExpressionError:
            return before, before, None
    if step_plan.items is not None or step_plan.wait is not None:
        raise RequestError(
            "bad-input", f"{step.id} has no one input that could be changed; edit the data it reads, then retry it"
        )
    after = {**before, **command.input}
    return before, after, digest(after)


def _skip(state: InstanceState, command: Command) -> dict[str, Any]:
    step = state.steps.get(command.step or "")
    if step is None:
        raise NotFoundError(
            "unknown-step", f"there is no step {command.step!r}; see topstitch instance show {state.id}"
        )
    if step.status not in SKIPPABLE or state.ended:
        raise ConflictError(
            "not-skippable", f"{step.id} is {step.status}; only a step that has left nothing behind is skipped"
        )
    _require_at_rest(state, step, "not-skippable")
    if step.effect != "none":
        raise ConflictError(
            "effect-there", f"{step.id} may have left something in the system; take it back or complete its task"
        )
    return {}


def _pause(state: InstanceState, command: Command) -> dict[str, Any]:
    if state.ended:
        raise ConflictError("ended", f"{state.id} has ended {state.ended}; there is nothing to {command.name}")
    if state.paused is (command.name == "pause"):
        raise ConflictError("already", f"{state.id} is {'already paused' if state.paused else 'not paused'}")
    return {}


def _cancel(state: InstanceState, command: Command) -> dict[str, Any]:
    if command.choice not in ("rollback", "stop"):
        raise RequestError("no-choice", "say what becomes of what is done: --rollback takes it back, --stop keeps it")
    if state.ended:
        raise ConflictError("ended", f"{state.id} has ended {state.ended}; what it did stays as it is")
    if state.mode is Mode.ROLLING_BACK:
        raise ConflictError("rolling-back", f"{state.id} is being rolled back already")
    return {"choice": command.choice}


def _edit(state: InstanceState, command: Command) -> tuple[dict[str, Any], tuple[Path, ...]]:
    root, *rest = (command.path or "").split(".")
    if root not in ("trigger", "context") or not rest:
        raise RequestError("bad-path", "name what is edited as trigger.<field> or context.<read>.<field>")
    if state.ended:
        raise ConflictError("ended", f"{state.id} has ended {state.ended}; edit nothing, start a new instance")
    value: Any = state.trigger if root == "trigger" else state.context
    for part in rest:
        if not isinstance(value, Mapping) or part not in value:
            raise NotFoundError(
                "unknown-path", f"{command.path} is not part of this instance; see topstitch instance show {state.id}"
            )
        value = value[part]
    return {"path": command.path, "before": value, "after": command.value}, (("before",), ("after",))


def _reassign(state: InstanceState, command: Command) -> tuple[dict[str, Any], tuple[Path, ...]]:
    if not command.people:
        raise RequestError("nobody", "say to whom with --to PERSON")
    people = [dict(person) for person in command.people]
    task = state.tasks.get(command.item or "")
    if task is not None and task.ending is None:
        notice = {"kind": "task", "title": task.title, "text": f"{task.title}: this is now yours", "task": task.id}
        body: dict[str, Any] = {"task": task.id, "people": people}
        body["tell"] = [tell(task.id, f"reassigned/{state.seq}", (people[0]["id"],), notice, people)]
        return body, (("people",),)
    for step in (*state.steps.values(), *state.heals.values()):
        if step.approval and step.approval.id == command.item and step.approval.ending is None:
            notice = {
                "kind": "approval",
                "title": "A decision is now yours",
                "text": "A decision is now yours",
                "approval": command.item,
            }
            body = {"approval": command.item, "of": step.id, "people": people}
            body["tell"] = [tell(command.item, f"reassigned/{state.seq}", (people[0]["id"],), notice, people)]
            return body, (("people",),)
    raise NotFoundError(
        "unknown-item",
        f"{state.id} has no open approval or task {command.item}; see topstitch instance show {state.id}",
    )


def commanded(state: InstanceState, entry: Entry) -> InstanceState:
    """Fold an operator's command."""
    body = entry.body
    match body["command"]:
        case "retry":
            state = _retried(state, entry)
        case "skip":
            state = _skipped(state, entry)
        case "pause":
            state = replace(state, paused=True)
        case "resume":
            state = replace(state, paused=False)
        case "cancel":
            state = _cancelled(state, body)
        case "edit":
            state = _edited(state, body)
        case "reassign":
            state = _reassigned(state, body)
        case _:
            pass
    return gathered(state, entry)


def _retried(state: InstanceState, entry: Entry) -> InstanceState:
    body = entry.body
    steps, acts, left = dict(state.steps), dict(state.acts), dict(state.tasks)
    for name in body["steps"]:
        before = steps[name]
        there = before.effect != "none"
        fresh = StepState(id=name, asks=before.asks, effect=before.effect, acts=before.acts if there else ())
        fresh = _with_children(fresh, before)
        if name == entry.step and body.get("input") is not None:
            fresh = replace(fresh, override=body["input"])
        if name == entry.step and body.get("proposal") is not None:
            fresh = replace(fresh, proposal=body["proposal"])
        steps[name] = fresh
        for act in [a for a in acts.values() if a.step == name and a.id not in fresh.acts and not _has_acted(a)]:
            del acts[act.id]
        for task in [t for t in left.values() if t.step == name]:
            del left[task.id]
    reads = {name: ContextState() if name in body.get("context", ()) else r for name, r in state.context_reads.items()}
    restarted = bool(body.get("context"))
    return replace(
        state,
        steps=steps,
        acts=acts,
        tasks=left,
        context_reads=reads,
        mode=Mode.FORWARD,
        because=None,
        cancelled=False,
        executed_at=None,
        outcome=None,
        ended=None,
        reported=False,
        cases={name: _heard_again(case, body) for name, case in state.cases.items()},
        stage=Stage.CONTEXT if restarted else Stage.EXECUTION,
    )


def _with_children(fresh: StepState, before: StepState) -> StepState:
    """Return a retried call: it waits for the instance that was started, unless that came to a bad end."""
    if before.child_end is not None and before.child_end["end"] not in GOOD_ENDS:
        return replace(fresh, children=before.children + 1)
    return replace(fresh, children=before.children, child=before.child, child_end=before.child_end)


def _has_acted(act: ActState) -> bool:
    """Whether a further action of a compensation has left something: it is not done again if the step fails again."""
    return act.purpose == "compensate" and effect_of(act) != "none"


def _is_dealt_with(case: CaseState, command: Command, body: Mapping[str, Any]) -> bool:
    """Whether a command is the answer to a case."""
    if command.name == "retry":
        return _is_of(case, body)
    if command.name == "skip":
        return case.step == command.step
    return case.cause == "nobody-to-ask" and case.step == body.get("of")


def _heard_again(case: CaseState, body: Mapping[str, Any]) -> CaseState:
    """What was waived of a step that is tried again would be news once more."""
    return replace(case, how=RETRIED) if case.how == cases.WAIVED and _is_of(case, body) else case


def _is_of(case: CaseState, body: Mapping[str, Any]) -> bool:
    """Whether a case is about what a retry tries again."""
    return case.step in body["steps"] or (case.step is None and case.cause == "context" and bool(body.get("context")))


def _skipped(state: InstanceState, entry: Entry) -> InstanceState:
    step = state.steps[entry.step or ""]
    step = replace(step, status=StepStatus.SKIPPED, settled_at=entry.at)
    return replace(state, steps={**state.steps, step.id: step})


def _cancelled(state: InstanceState, body: Mapping[str, Any]) -> InstanceState:
    mode = Mode.ROLLING_BACK if body["choice"] == "rollback" else Mode.STOPPING
    stage = Stage.EXECUTION if state.stage is Stage.RECONCILIATION else state.stage
    return replace(
        state,
        mode=mode,
        cancelled=True,
        because=state.because or "cancelled",
        executed_at=None,
        outcome=None,
        stage=stage,
        paused=False,
    )


def _edited(state: InstanceState, body: Mapping[str, Any]) -> InstanceState:
    root, *rest = body["path"].split(".")
    if root == "trigger":
        return replace(state, trigger=_put(state.trigger, rest, body["after"]))
    return replace(state, context=_put(state.context, rest, body["after"]))


def _put(value: Mapping[str, Any], path: list[str], after: Any) -> Mapping[str, Any]:
    name, *rest = path
    return {**value, name: _put(value[name], rest, after) if rest else after}


def _reassigned(state: InstanceState, body: Mapping[str, Any]) -> InstanceState:
    people = tuple(body["people"]) if isinstance(body["people"], list) else ()
    if "task" in body:
        task = replace(state.tasks[body["task"]], people=people)
        return replace(state, tasks={**state.tasks, task.id: task})
    heals = body["of"] in state.heals
    step = (state.heals if heals else state.steps)[body["of"]]
    if step.approval is None:
        return state
    step = replace(step, approval=replace(step.approval, people=people))
    if heals:
        return replace(state, heals={**state.heals, step.id: step})
    return replace(state, steps={**state.steps, step.id: step})
