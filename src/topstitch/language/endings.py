"""Decides whether every step says how it ends: undone, compensated, approved, verified.

The checks that make silence impossible: a write is read back, can be undone or says why
not, and has somebody who is asked when it cannot be completed. Called by ``check`` for
each step; reads the step and its action's contract, nothing else.
"""

from __future__ import annotations

import re
from typing import Final

from topstitch.foundation.timetext import parse_duration
from topstitch.language.load import Path
from topstitch.language.names import Names
from topstitch.language.report import Report
from topstitch.language.schema import (
    Approval,
    Compensate,
    Ending,
    Escalation,
    Gate,
    NoUndo,
    Step,
    Task,
    TaskItem,
    Then,
    Undo,
    Workflow,
)
from topstitch.language.validate import REMEDIES
from topstitch.language.values import constant
from topstitch.model.action import ActionContract, Effect, Idempotency

GATED_RISK: Final = 3
"""From this tier on somebody has to approve."""


class Endings:
    """The checks on how steps end."""

    def __init__(self, workflow: Workflow, names: Names, report: Report) -> None:
        self.workflow, self.names, self.report = workflow, names, report

    def step(self, name: str, step: Step, action: ActionContract | None) -> None:
        """Check one step."""
        path: Path = ("steps", name)
        self._one_kind(path, step)
        writes = action is not None and action.writes
        if writes or (step.do is not None and action is None) or step.call is not None:
            self._plans(path, step, action)
        if action is not None:
            self._against_contract(path, step, action)
        if step.approval is not None:
            self._approval((*path, "approval"), step.approval)
        if step.compensate is not None and not self.report.touched((*path, "compensate")):
            self._compensate((*path, "compensate"), step.compensate)
        for index, who in enumerate(step.tell):
            self.who(who, (*path, "tell", index))

    def _one_kind(self, path: Path, step: Step) -> None:
        kinds = [name for name in ("do", "wait_for", "call") if getattr(step, name) is not None]
        if not kinds:
            if not any(self.report.touched((*path, name)) for name in ("do", "wait_for", "call")):
                self.report.missing(
                    path, "do", "a step does one thing: 'do: system.action', 'wait_for: ...' or 'call: ...'"
                )
        elif len(kinds) > 1:
            self.report.add(
                "shape",
                (*path, kinds[1]),
                f"a step has either '{kinds[0]}' or '{kinds[1]}'",
                "make it two steps",
                key=True,
            )
        elif kinds != ["do"]:
            for extra in ("with_", "rollback", "expect"):
                if getattr(step, extra):
                    shown = extra.rstrip("_")
                    remedy = "give the data inside 'call'" if extra == "with_" and step.call else "remove it"
                    self.report.add(
                        "shape", (*path, shown), f"'{shown}' means nothing beside '{kinds[0]}'", remedy, key=True
                    )

    def _plans(self, path: Path, step: Step, action: ActionContract | None) -> None:
        if step.do is not None:
            if step.rollback is None:
                self.report.missing(path, "rollback", REMEDIES["rollback"])
            if action is not None and isinstance(step.expect, list) and not step.expect:
                self.report.missing(
                    path,
                    "expect",
                    "read back what was written: 'expect: [{read: ..., that: ...}]', or say 'expect: {none: why}'",
                    "unverified",
                )
        if step.compensate is None:
            self.report.missing(path, "compensate", REMEDIES["compensate"])

    def _against_contract(self, path: Path, step: Step, action: ActionContract) -> None:
        if step.risk is not None and step.risk < action.risk_floor:
            self.report.add(
                "risk",
                (*path, "risk"),
                f"risk {step.risk} is below the connector's floor of {action.risk_floor}",
                "raise it",
            )
        risk = max(step.risk or 1, action.risk_floor)
        if (
            action.writes
            and risk >= GATED_RISK
            and step.approval is None
            and not self.report.touched((*path, "approval"))
        ):
            self.report.missing(
                path, "approval", f"a step of risk {risk} needs one; 'auto_when' may answer it", "approval"
            )
        if not action.writes:
            if step.rollback is not None:
                self.report.add(
                    "rollback",
                    (*path, "rollback"),
                    f"{step.do} only reads; there is nothing to undo",
                    "remove it",
                    key=True,
                )
            return
        self._undo(path, step, action)
        self._ambiguous(path, step, action)
        self._pauses(path, step)
        settle = action.settle_seconds
        for index, expect in enumerate(step.expect if isinstance(step.expect, list) else ()):
            if parse_duration(expect.within) < settle:
                self.report.add(
                    "settle",
                    (*path, "expect", index, "within"),
                    f"the system may take {settle:g} s until it shows a write; {expect.within} is shorter",
                    f"wait {settle:g}s at least",
                    severity="warning",
                )

    def _undo(self, path: Path, step: Step, action: ActionContract) -> None:
        here = (*path, "rollback")
        if isinstance(step.rollback, NoUndo) and action.undo and not action.irreversible:
            alias = (step.do or "").split(".")[0]
            self.report.add(
                "rollback",
                here,
                f"{step.do} can be undone by {alias}.{action.undo}",
                f"write 'rollback: {{do: {alias}.{action.undo}}}'",
                severity="warning",
                key=True,
            )
        if isinstance(step.rollback, Undo):
            undo = self.names.action(step.rollback.do, (*here, "do"))
            if undo is not None and not undo.writes:
                self.report.add(
                    "rollback",
                    (*here, "do"),
                    f"{step.rollback.do} only reads; it undoes nothing",
                    "name the action that takes the effect back",
                )

    def _ambiguous(self, path: Path, step: Step, action: ActionContract) -> None:
        if (
            action.idempotency not in (Idempotency.NONE, None)
            or action.lookup is not None
            or action.effect is Effect.READ
        ):
            return
        if step.retry.attempts > 1:
            self.report.add(
                "ambiguous",
                (*path, "retry", "attempts"),
                f"{step.do} cannot be repeated safely and cannot be looked up: a second attempt may do it twice",
                "write 'attempts: 1'",
            )
        elif step.compensate is not None and not any(isinstance(item, TaskItem) for item in step.compensate.do):
            self.report.add(
                "ambiguous",
                (*path, "compensate"),
                f"whether {step.do} happened cannot be looked up, and nobody is asked",
                "add a task to compensate",
                key=True,
            )

    def _pauses(self, path: Path, step: Step) -> None:
        if parse_duration(step.retry.first) > parse_duration(step.retry.max):
            self.report.add(
                "retry",
                (*path, "retry", "first"),
                "the first pause is longer than the longest",
                f"write a 'first' of at most {step.retry.max}, or raise 'max'",
                severity="warning",
            )

    # -- approvals ----------------------------------------------------------------------------------

    def _approval(self, path: Path, approval: Approval) -> None:
        if (
            approval.auto_when is not None
            and not self.report.touched((*path, "auto_when"))
            and constant(approval.auto_when) is True
        ):
            self.report.add(
                "unreachable-approval",
                (*path, "auto_when"),
                "auto_when is always true: nobody is ever asked",
                "remove the approval, or correct the condition",
            )
        self._gate((*path, "otherwise"), approval.otherwise)
        for name, ending in (("refused", approval.refused), ("unanswered", approval.unanswered)):
            self._ending((*path, name), ending)

    def _gate(self, path: Path, gate: Gate) -> None:
        who = gate.from_ if isinstance(gate.from_, list) else [gate.from_]
        for index, each in enumerate(who):
            self.who(each, (*path, "from", index) if isinstance(gate.from_, list) else (*path, "from"))
        people = [each for each in who if each.startswith(("group:", "role:"))]
        if gate.quorum > len(who) and not people:
            self.report.add(
                "approval",
                (*path, "quorum"),
                f"{gate.quorum} must agree, and {len(who)} can be asked",
                "ask more people, or a group",
            )
        self._escalations(path, gate.escalate, gate.give_up)
        if gate.remind is not None and parse_duration(gate.remind) >= parse_duration(gate.give_up):
            self.report.add(
                "escalation",
                (*path, "remind"),
                "the reminder comes after the end",
                f"remind before {gate.give_up}",
                severity="warning",
            )

    def _ending(self, path: Path, ending: Ending) -> None:
        for index, who in enumerate(ending.tell):
            self.who(who, (*path, "tell", index))

    def _escalations(self, path: Path, escalations: list[Escalation], give_up: str) -> None:
        for index, escalation in enumerate(escalations):
            here = (*path, "escalate", index)
            self.who(escalation.to, (*here, "to"))
            if parse_duration(escalation.after) >= parse_duration(give_up):
                self.report.add(
                    "escalation",
                    (*here, "after"),
                    "nobody is asked: the wait ends before",
                    f"escalate before {give_up}",
                    severity="warning",
                )

    def who(self, who: str, path: Path) -> None:
        """Check who is meant."""
        if self.report.touched(path):
            return
        if who in {"requester", "manager_of(requester)"}:
            if self.workflow.trigger.requester is None and not self.report.touched(("trigger", "requester")):
                self.report.add("who", path, "nobody is the requester", "give 'requester' in trigger")
        elif not _WHO.fullmatch(who):
            self.report.add(
                "who",
                path,
                f"'{who}' names nobody",
                "write group:..., role:..., manager_of(subject), owner, requester or a person's id",
            )

    # -- compensation -------------------------------------------------------------------------------

    def _compensate(self, path: Path, compensate: Compensate) -> None:
        tasks = [(index, item.task) for index, item in enumerate(compensate.do) if isinstance(item, TaskItem)]
        for index, task in tasks:
            self.task((*path, "do", index, "task"), task)
        if tasks or self.report.touched((*path, "do")):
            return
        if isinstance(compensate.then, Then):
            self.report.add(
                "nobody-told",
                (*path, "then"),
                "'done' and 'not_done' speak of a task, and there is none",
                "add a task, or write one word",
                key=True,
            )
        elif compensate.then == "continue":
            self.report.add(
                "nobody-told",
                (*path, "then"),
                "the step may fail, the instance goes on, and nobody is asked to repair it",
                "add a task, or write 'stop' or 'rollback'",
            )

    def task(self, path: Path, task: Task) -> None:
        """Check a task: who does it, and when it ends."""
        self.who(task.to, (*path, "to"))
        self._escalations(path, task.escalate, task.give_up)
        if parse_duration(task.due) > parse_duration(task.give_up):
            self.report.add(
                "escalation",
                (*path, "due"),
                "the task is given up before it is due",
                f"set it due within {task.give_up}",
                severity="warning",
            )


_WHO: Final = re.compile(
    r"owner|manager_of\((subject|owner)\)|(group|role|p|person):[A-Za-z0-9][\w.@-]*|[A-Za-z0-9][\w.-]*@[\w.-]+|[A-Z]+-?[0-9]+"
)
