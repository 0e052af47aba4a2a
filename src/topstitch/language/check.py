"""Decides whether a definition may be published: every static check, in one pass.

``check`` is what ``topstitch validate`` and ``publish`` call. It validates the shape,
resolves the names, types the expressions and asks each family of checks in turn:
``graph``, ``values``, ``endings``, ``reconciled``, ``promises``, ``leaks``. One mistake
gives one finding: what is broken is marked, and its consequences are not reported. Whether
every failure has a declared end is the verifier's question, not asked here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from topstitch.foundation.canonical import digest
from topstitch.language.cel_ast import Syntax
from topstitch.language.endings import Endings
from topstitch.language.graph import Graph
from topstitch.language.leaks import check_leaks
from topstitch.language.load import Document, Path
from topstitch.language.names import Names
from topstitch.language.promises import check_promises
from topstitch.language.reconciled import Reconciled
from topstitch.language.report import Report
from topstitch.language.schema import ActionItem, Compensate, Expect, Step, TaskItem, Undo, Workflow
from topstitch.language.scopes import Scopes
from topstitch.language.validate import validate
from topstitch.language.values import Site, Values, constant
from topstitch.model.action import ActionContract, Contracts, EventContract, JsonSchema
from topstitch.model.finding import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What the checks came to. ``workflow`` is there when the shape is right, errors or not."""

    findings: tuple[Finding, ...]
    workflow: Workflow | None
    expressions: int = 0
    """How many expressions were typed."""

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What must be corrected before the definition can be published."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def ok(self) -> bool:
        """Whether the definition can be published."""
        return self.workflow is not None and not self.errors


def check(document: Document, contracts: Contracts) -> CheckResult:
    """Check a definition against the installed contracts. Never raises for what an author can write."""
    report = Report(document)
    if document.data is None:
        return CheckResult(findings=report.done(), workflow=None)
    workflow, whole = validate(document, report)
    count = _Checker(document, workflow, contracts, report).run() if workflow is not None else 0
    return CheckResult(findings=report.done(), workflow=workflow if whole else None, expressions=count)


class _Checker:
    """One pass over one workflow, or over what is left of it."""

    def __init__(self, document: Document, workflow: Workflow, contracts: Contracts, report: Report) -> None:
        self.document, self.workflow, self.report = document, workflow, report
        self.names = Names(workflow, contracts, report)
        written = document.at(("steps",))
        known = frozenset(written) if isinstance(written, dict) else frozenset()
        self.graph = Graph(workflow, report, known | frozenset(workflow.steps))
        self.scopes = Scopes()
        self.values = Values(report, self.scopes)
        self.endings = Endings(workflow, self.names, report)
        self.reads: dict[str, ActionContract | None] = {}
        self.actions: dict[str, ActionContract | None] = {}
        self.trigger: EventContract | None = None

    def run(self) -> int:
        """Run every family; return how many expressions were typed."""
        self.names.resolve_systems()
        self._resolve()
        self.graph.build()
        self._prepare_scopes()
        self._trigger()
        self._context()
        conditions: dict[str, Syntax] = {}
        for name, step in self.workflow.steps.items():
            typed = self._step(name, step)
            if typed is not None:
                conditions[name] = typed
        self.graph.dead_steps(conditions)
        Reconciled(self.names, self.graph, self.values, self.endings, self.report).check(self.workflow, self.actions)
        check_promises(self.workflow, self.graph, self.report)
        check_leaks(self.report)
        self.names.unused()
        return self.values.count

    # -- names and types ----------------------------------------------------------------------------

    def _resolve(self) -> None:
        if not self.report.touched(("trigger", "on")):
            self.trigger = self.names.event(self.workflow.trigger.on, ("trigger", "on"))
        for name, read in self.workflow.context.items():
            self.reads[name] = self.names.read(
                read.read, ("context", name, "read"), "the context stage", "write-in-context"
            )
        for name, step in self.workflow.steps.items():
            self.actions[name] = self.names.action(step.do, ("steps", name, "do")) if step.do is not None else None

    def _prepare_scopes(self) -> None:
        for name, step in self.workflow.steps.items():
            action = self.actions.get(name)
            self.scopes.step_inputs[name] = _given(step, action)
            self.scopes.step_outputs[name] = self._output(name, step, action)
        self.scopes.prepare(
            self.workflow,
            self.trigger.data if self.trigger else None,
            self._all_reads(),
            self._other_records(),
            self._lost_steps(),
        )

    def _all_reads(self) -> Mapping[str, ActionContract | None]:
        """Return the context reads, with those that were cut off as unknown."""
        written = self.document.at(("context",))
        lost = [name for name in written if name not in self.reads] if isinstance(written, dict) else []
        return {**self.reads, **dict.fromkeys(lost)}

    def _lost_steps(self) -> frozenset[str]:
        return self.graph.known - frozenset(self.workflow.steps)

    def _output(self, name: str, step: Step, action: ActionContract | None) -> JsonSchema:
        if step.wait_for is not None:
            event = self.names.event(step.wait_for.event, ("steps", name, "wait_for", "event"))
            return event.data if event else {}
        return action.output if action else {}

    def _other_records(self) -> dict[str, JsonSchema]:
        """Return what is read anywhere else, so that each record has a type."""
        found: dict[str, JsonSchema] = {}
        for ref in self._read_refs():
            alias, _, name = ref.partition(".")
            system = self.names.systems.get(alias)
            action = system.actions.get(name) if system else None
            if action is not None:
                found[ref] = action.output
        return found

    def _read_refs(self) -> Iterator[str]:
        for step in self.workflow.steps.values():
            undo = step.rollback.expect if isinstance(step.rollback, Undo) else []
            for expect in [*(step.expect if isinstance(step.expect, list) else []), *undo]:
                yield expect.read
        population = self.workflow.reconcile.population
        if population is not None:
            yield from (population.left.read, population.right.read)

    # -- trigger and context ------------------------------------------------------------------------

    def _trigger(self) -> None:
        trigger, path = self.workflow.trigger, ("trigger",)
        if self.report.touched(path):
            return
        site = Site(scope=self.scopes.scope("trigger", "env"), label="trigger")
        if self.trigger is not None and self.trigger.scheduled and trigger.non_business is None:
            self.report.add(
                "scheduled",
                (*path, "on"),
                f"'{trigger.on}' is a schedule, not a business event",
                "start from the event itself, or say why a schedule may start this: 'non_business: ...'",
            )
        if self.trigger is None and not self.report.touched((*path, "on")):
            return
        for name, text in (("one_per", trigger.one_per), ("about", trigger.about), ("requester", trigger.requester)):
            if text is not None:
                self.values.text((*path, name), text, site)
        if "trigger." not in trigger.one_per and not self.report.touched((*path, "one_per")):
            self.report.add(
                "one-per",
                (*path, "one_per"),
                "this is the same for every event: all would become one instance",
                "use the business thing's own id: '= trigger.<id>'",
            )
        if trigger.when is not None:
            typed = self.values.condition((*path, "when"), trigger.when, site)
            if typed is not None and typed.syntax.constant and constant(trigger.when) is False:
                self.report.add("dead-step", (*path, "when"), "no event ever starts this", "correct the condition")

    def _context(self) -> None:
        earlier = set(self._all_reads()) - set(self.reads)
        for name, read in self.workflow.context.items():
            path: Path = ("context", name)
            site = Site(
                scope=self.scopes.scope("trigger", "context", "process", "env"), label=name, context=frozenset(earlier)
            )
            if read.when is not None:
                self.values.condition((*path, "when"), read.when, site)
            action = self.reads.get(name)
            if action is not None and not action.writes:
                self.values.payload((*path, "with"), read.with_, action.input, site, self._at(path))
            earlier.add(name)

    # -- steps --------------------------------------------------------------------------------------

    def _step(self, name: str, step: Step) -> Syntax | None:
        path: Path = ("steps", name)
        done, settled = self.graph.needs[name], self.graph.waits[name]
        before = Site(scope=self.scopes.before(), label=name, done=done, settled=settled)
        typed = self.values.condition((*path, "when"), step.when, before) if step.when is not None else None
        acting = self._item_site(path, name, step, before)
        self._before(path, step, acting)
        action = self.actions.get(name)
        if action is not None:
            self.values.payload((*path, "with"), step.with_, action.input, acting, self._at(path))
        self._after(path, name, step, acting)
        self._other_kinds(path, name, step, acting)
        self.endings.step(name, step, action)
        return typed.syntax if typed is not None else None

    def _item_site(self, path: Path, name: str, step: Step, site: Site) -> Site:
        """Return the site of a step's own fields: with ``item`` in scope when it goes over a list."""
        if not self._repeats(path, step):
            return site
        if step.for_each is not None:
            self.values.expression((*path, "for_each", "items"), step.for_each.items, site, {"type": "array"})
        return Site(scope=self.scopes.before(item={}), label=name, done=site.done, settled=site.settled)

    def _repeats(self, path: Path, step: Step) -> bool:
        return step.for_each is not None or self.report.touched((*path, "for_each"))

    def _before(self, path: Path, step: Step, site: Site) -> None:
        for index, each in enumerate(step.require):
            self.values.condition((*path, "require", index, "check"), each.check, site)
        if step.approval is not None and step.approval.auto_when is not None:
            self.values.condition((*path, "approval", "auto_when"), step.approval.auto_when, site)

    def _after(self, path: Path, name: str, step: Step, site: Site) -> None:
        item: dict[str, JsonSchema] = {"item": {}} if self._repeats(path, step) else {}
        self._expects((*path, "expect"), name, step.expect if isinstance(step.expect, list) else [], site, item)
        after = Site(scope=self.scopes.after(name, **item), label=name, done=site.done, settled=site.settled)
        if isinstance(step.rollback, Undo):
            here = (*path, "rollback")
            undo = self.names.action(step.rollback.do, (*here, "do"))
            if undo is not None:
                self.values.payload((*here, "with"), step.rollback.with_, undo.input, after, self._at(here))
            self._expects((*here, "expect"), name, step.rollback.expect, site, item)
        if step.compensate is not None:
            failed = Site(scope=after.scope, label=name, done=site.done, settled=site.settled, own_output=False)
            self._compensation((*path, "compensate"), step.compensate, failed)

    def _expects(self, path: Path, name: str, expects: list[Expect], site: Site, item: dict[str, JsonSchema]) -> None:
        for index, expect in enumerate(expects):
            here = (*path, index)
            if self.report.touched(here):
                continue
            read = self.names.read(expect.read, (*here, "read"), "a read-back")
            after = Site(scope=self.scopes.after(name, **item), label=name, done=site.done, settled=site.settled)
            if read is not None:
                self.values.payload((*here, "with"), expect.with_, read.input, after, self._at(here))
            if read is not None and read.writes:
                continue
            found = self.scopes.after(name, found=read.output if read else {}, **item)
            self.values.condition(
                (*here, "that"), expect.that, Site(scope=found, label=name, done=site.done, settled=site.settled)
            )

    def _compensation(self, path: Path, compensate: Compensate, site: Site) -> None:
        for index, item in enumerate(compensate.do):
            here = (*path, "do", index)
            if isinstance(item, TaskItem):
                self.values.text((*here, "task", "title"), item.task.title, site)
            elif isinstance(item, ActionItem):
                action = self.names.action(item.do, (*here, "do"))
                if action is not None:
                    self.values.payload((*here, "with"), item.with_, action.input, site, self._at(here))

    def _other_kinds(self, path: Path, name: str, step: Step, site: Site) -> None:
        if step.wait_for is not None:
            event = self.scopes.step_outputs[name]
            scope = self.scopes.before(event=event)
            self.values.condition(
                (*path, "wait_for", "match"),
                step.wait_for.match,
                Site(scope=scope, label=name, done=site.done, settled=site.settled),
            )
        if step.call is not None:
            self.values.payload((*path, "call", "with"), step.call.with_, {}, site, (*path, "call"))
            if step.call.workflow == self.workflow.workflow:
                self.report.add("cycle", (*path, "call", "workflow"), "the workflow calls itself", "call another one")

    def _at(self, path: Path) -> Path:
        """Return where a missing payload field is reported: at ``with``, or at the action if there is none."""
        spans = self.document.key_spans
        return next(((*path, key) for key in ("with", "do", "read") if (*path, key) in spans), path)


def _given(step: Step, action: ActionContract | None) -> JsonSchema:
    """Return the schema of a step's input: the action's, of it only what the step gives."""
    if action is None:
        return {}
    wanted = action.input.get("required", ())
    properties = {
        name: schema
        for name, schema in action.input.get("properties", {}).items()
        if name in step.with_ or name in wanted
    }
    always = [name for name in properties if not _optional_text(step.with_.get(name))]
    return {"type": "object", "properties": properties, "required": always}


def _optional_text(value: object) -> bool:
    """Whether a payload field is left out when what it reads is absent."""
    return (
        isinstance(value, str) and value.startswith("= ") and (".?" in value or "[?" in value or "optional." in value)
    )


# -- contracts that change under a published definition ---------------------------------------------


def contract_digests(workflow: Workflow, contracts: Contracts) -> dict[str, str]:
    """Return the digest of each action and event a workflow names, by ``alias.name``; ``publish`` records them."""
    found = {}
    for ref in sorted(_refs(workflow)):
        alias, _, name = ref.partition(".")
        system = contracts.get(workflow.systems.get(alias, ""))
        part = (system.actions.get(name) or system.events.get(name)) if system else None
        if part is not None:
            schemas = (
                {"data": part.data} if isinstance(part, EventContract) else {"input": part.input, "output": part.output}
            )
            found[ref] = digest(schemas)
    return found


def stale_contracts(
    workflow: Workflow, contracts: Contracts, recorded: Mapping[str, str], document: Document
) -> tuple[Finding, ...]:
    """Warn of every contract whose schemas differ from those recorded when the definition was published."""
    present = contract_digests(workflow, contracts)
    report = Report(document)
    report.findings.clear()
    for ref, before in sorted(recorded.items()):
        if present.get(ref) == before:
            continue
        path = next((path for path in document.spans if document.at(path) == ref), ())
        gone = ref not in present
        report.add(
            "stale-contract",
            path,
            f"{ref} {'is gone' if gone else 'has changed'} since this was published",
            "validate the definition against the new contract and publish a new version",
            severity="error" if gone else "warning",
        )
    return report.done()


def _refs(workflow: Workflow) -> set[str]:
    """Return every ``alias.name`` a workflow mentions."""
    found: set[str] = {workflow.trigger.on, workflow.reconcile.on_difference.do}
    found.update(read.read for read in workflow.context.values())
    for record in workflow.reconcile.records.values():
        found.add(record.read)
        found.update(rule.heal for rule in record.expect if rule.heal)
    for step in workflow.steps.values():
        found.update(ref for ref in (step.do, step.wait_for and step.wait_for.event) if ref)
        found.update(expect.read for expect in (step.expect if isinstance(step.expect, list) else []))
        if isinstance(step.rollback, Undo):
            found.update([step.rollback.do, *(expect.read for expect in step.rollback.expect)])
        if step.compensate is not None:
            found.update(item.do for item in step.compensate.do if isinstance(item, ActionItem))
    if workflow.reconcile.population is not None:
        found.update((workflow.reconcile.population.left.read, workflow.reconcile.population.right.read))
    return found
