"""Decides whether reconciliation covers what was written, and compares what can be compared.

Every write needs a record that covers it; every field rule must name a field of what is
read, and expect a value that it can have. Called by ``check`` once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from topstitch.foundation.money import parse_money
from topstitch.foundation.timetext import parse_duration
from topstitch.language.endings import Endings
from topstitch.language.graph import Graph
from topstitch.language.load import Path
from topstitch.language.names import Names
from topstitch.language.report import Report, nearest
from topstitch.language.schema import FieldRule, Population, PopulationSide, Reconcile, ReconcileRecord, Workflow
from topstitch.language.scopes import ALL, DIFFERENCE
from topstitch.language.shapes import kind_of, words_of
from topstitch.language.values import Site, Values
from topstitch.model.action import ActionContract, JsonSchema

_KINDS: Final = ("equals", "includes", "one_of", "matches", "absent")
PROPOSED: Final = 3
"""The risk tier of money and privilege, which no repair may have (``plan.heals``)."""


class Reconciled:
    """The checks on what is compared."""

    def __init__(self, names: Names, graph: Graph, values: Values, endings: Endings, report: Report) -> None:
        self.names, self.graph, self.values, self.endings, self.report = names, graph, values, endings, report

    def check(self, workflow: Workflow, actions: dict[str, ActionContract | None]) -> None:
        """Check the whole part."""
        reconcile = workflow.reconcile
        self._uncovered(workflow, actions)
        for name, each in reconcile.records.items():
            if not self.report.touched(("reconcile", "records", name)):
                self._record(("reconcile", "records", name), each, workflow)
        self._on_difference(reconcile)
        if reconcile.population is not None:
            self._population(("reconcile", "population"), reconcile.population)

    def _uncovered(self, workflow: Workflow, actions: dict[str, ActionContract | None]) -> None:
        records = workflow.reconcile.records
        written = self.report.document.at(("reconcile", "records"))
        whole = isinstance(written, dict) and written.keys() == records.keys()
        if not whole or self.report.touched(("reconcile", "records")):
            return  # a record that is broken may cover anything
        covered = {record.covers for record in records.values()}
        for name, action in actions.items():
            if action is not None and action.writes and name not in covered:
                self.report.add(
                    "unreconciled",
                    ("steps", name),
                    f"nothing compares what '{name}' wrote in {action_ref(workflow, name)}",
                    f"add a record to reconcile with 'covers: {name}'",
                    key=True,
                )

    def _record(self, path: Path, record: ReconcileRecord, workflow: Workflow) -> None:
        self.graph.step_exists(record.covers, (*path, "covers"))
        read = self.names.read(record.read, (*path, "read"), "reconciliation")
        site = self._site(record.covers, "reconcile")
        if read is not None:
            self.values.payload((*path, "with"), record.with_, read.input, site, _at(self.report, path))
        for index, rule in enumerate(record.expect):
            here = (*path, "expect", index)
            if not self.report.touched(here):
                self._rule(here, rule, read, site, workflow)

    def _site(self, covers: str, label: str, **more: JsonSchema) -> Site:
        steps = self.graph.needs.get(covers, self.graph.known) | {covers}
        waits = self.graph.waits.get(covers, self.graph.known) | {covers}
        return Site(scope=self.values.scopes.scope(*ALL, **more), label=label, done=steps, settled=waits)

    def _rule(self, path: Path, rule: FieldRule, read: ActionContract | None, site: Site, workflow: Workflow) -> None:
        given = [kind for kind in _KINDS if getattr(rule, kind) is not None]
        if len(given) != 1:
            if any(self.report.touched((*path, kind)) for kind in _KINDS):
                return
            message = "the rule expects nothing" if not given else f"the rule has {' and '.join(given)}"
            self.report.add("shape", path, message, "give one of equals, includes, one_of, matches, absent")
            return
        if rule.authority is not None and rule.authority not in workflow.systems:
            self.report.add(
                "unknown-system",
                (*path, "authority"),
                f"there is no system '{rule.authority}'",
                nearest(rule.authority, workflow.systems),
            )
        schema = self._field_schema(path, rule, read)
        if rule.within is not None:
            self._tolerance((*path, "within"), rule, schema or {})
        if schema is None:
            return
        self._expected((*path, given[0]), given[0], rule, schema, site)
        if rule.heal is not None and read is not None:
            self._heal(path, rule, read, site, schema)

    def _field_schema(self, path: Path, rule: FieldRule, read: ActionContract | None) -> JsonSchema | None:
        """Return the schema of the field compared; report a name that the record has not."""
        if read is None:
            return None
        schema: JsonSchema = read.output
        for part in rule.field.split("."):
            properties = schema.get("properties")
            if not properties:
                return {}
            if part not in properties:
                self.report.add(
                    "unknown-field",
                    (*path, "field"),
                    f"{read.name} gives no field '{rule.field}'",
                    nearest(part, properties),
                )
                return None
            schema = properties[part]
        return schema

    def _expected(self, path: Path, kind: str, rule: FieldRule, schema: JsonSchema, site: Site) -> None:
        value = getattr(rule, kind)
        match kind:
            case "equals":
                self.values.value(path, value, schema, site)
            case "includes":
                self._includes(path, value, schema, site)
            case "one_of":
                if isinstance(value, str):
                    self.values.value(path, value, {"type": "array", "items": schema}, site)
                else:
                    for index, item in enumerate(value):
                        self.values.value((*path, index), item, schema, site)
            case "matches":
                _regular(path, value, self.report)

    def _includes(self, path: Path, value: Any, schema: JsonSchema, site: Site) -> None:
        if kind_of(schema) not in ("array", "any"):
            self.report.add(
                "type",
                path,
                f"'{path[-1]}' compares with a list; the field is {words_of(schema)}",
                "use equals",
                key=True,
            )
            return
        typed_list = isinstance(value, list) or (isinstance(value, str) and value.startswith("= "))
        self.values.value(path, value, schema if typed_list else schema.get("items", {}), site)

    def _tolerance(self, path: Path, rule: FieldRule, schema: JsonSchema) -> None:
        if rule.equals is None:
            self.report.add("shape", path, "'within' is a tolerance of 'equals'", "remove it, or use equals", key=True)
            return
        wanted = _tolerances(schema)
        if not wanted:
            message = f"nothing is nearly equal to {words_of(schema)}; 'within' is for money, numbers, dates and times"
            self.report.add("shape", path, message, "remove it", key=True)
        elif not any(_TOLERANCES[kind][0](str(rule.within)) for kind in wanted):
            names, examples = " or ".join(wanted), " or ".join(_TOLERANCES[kind][1] for kind in wanted)
            self.report.add(
                "shape", path, f"'within' wants {names} here; this is '{rule.within}'", f"such as {examples}"
            )

    def _heal(self, path: Path, rule: FieldRule, read: ActionContract, site: Site, schema: JsonSchema) -> None:
        heal = self.names.action(rule.heal or "", (*path, "heal"))
        if heal is None:
            return
        if not heal.writes:
            self.report.add(
                "shape",
                (*path, "heal"),
                f"{rule.heal} only reads; it heals nothing",
                "name an action that sets the field",
            )
            return
        if heal.risk_floor >= PROPOSED or schema.get("format") == "money":
            self.report.add(
                "shape",
                (*path, "heal"),
                f"{rule.heal} on '{rule.field}' moves money or privilege, which is never repaired",
                "leave heal out; the ticket asks a person",
            )
        if rule.authority is not None and rule.authority != self._alias(path):
            self.report.add(
                "shape",
                (*path, "heal"),
                f"the word of {rule.authority} counts for '{rule.field}', so it is never repaired here",
                "leave heal out, or the authority",
            )
        if rule.heal_with is not None:
            self.values.payload((*path, "heal_with"), rule.heal_with, heal.input, site, (*path, "heal_with"))
            return
        there = {rule.field.split(".")[-1], *read.output.get("properties", {})}
        missing = [name for name in heal.input.get("required", ()) if name not in there]
        if missing:
            self.report.add(
                "payload",
                (*path, "heal"),
                f"'{missing[0]}' is neither the field nor in what was read",
                "give it in heal_with",
            )

    def _alias(self, path: Path) -> str:
        """Return the system of the record that a rule belongs to."""
        record = self.report.document.at(path[:3])
        read = record.get("read") if isinstance(record, dict) else None
        return str(read or "").partition(".")[0]

    def _on_difference(self, reconcile: Reconcile) -> None:
        path: Path = ("reconcile", "on_difference")
        if self.report.touched(path):
            return
        act = reconcile.on_difference
        action = self.names.action(act.do, (*path, "do"))
        names = ("trigger", "context", "flags", "process", "env")
        site = Site(scope=self.values.scopes.scope(*names, difference=DIFFERENCE), label="on_difference")
        if action is not None and not action.writes:
            self.report.add(
                "shape",
                (*path, "do"),
                f"{act.do} only reads; nobody would learn of the difference",
                "name an action that files it",
            )
        elif action is not None:
            self.values.payload((*path, "with"), act.with_, action.input, site, _at(self.report, path))
        task = act.if_that_fails.task
        self.endings.task((*path, "if_that_fails", "task"), task)
        self.values.text((*path, "if_that_fails", "task", "title"), task.title, site)

    def _population(self, path: Path, population: Population) -> None:
        for name, side in (("left", population.left), ("right", population.right)):
            self._side((*path, name), side)

    def _side(self, path: Path, side: PopulationSide) -> None:
        read = self.names.read(side.read, (*path, "read"), "reconciliation")
        if read is None:
            return
        rows = read.output.get("properties", {}).get("rows", {})
        if kind_of(rows) != "array":
            self.report.add("shape", (*path, "read"), f"{side.read} gives no rows", "name an action that lists records")
            return
        site = Site(scope=self.values.scopes.scope("process"), label="population")
        self.values.payload((*path, "with"), side.with_, read.input, site, _at(self.report, path), frozenset({"since"}))
        row = Site(scope=self.values.scopes.scope(row=rows.get("items", {})), label="population")
        self.values.expression((*path, "key"), side.key, row, {"type": "string"})


def action_ref(workflow: Workflow, step: str) -> str:
    """Return the connector a step writes to, for a message."""
    alias = (workflow.steps[step].do or "").split(".")[0]
    return workflow.systems.get(alias, alias)


def _at(report: Report, path: Path) -> Path:
    """Return where a missing field is reported: at ``with``, or at the action if there is none."""
    if (*path, "with") in report.document.key_spans:
        return (*path, "with")
    return next(((*path, key) for key in ("read", "do") if (*path, key) in report.document.key_spans), path)


def _regular(path: Path, pattern: str, report: Report) -> None:
    try:
        re.compile(pattern)
    except re.error:
        report.add("shape", path, "'matches' wants a regular expression", "correct the pattern")


def _reads(text: str, read: Callable[[str], object]) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True


_TOLERANCES: Final[Mapping[str, tuple[Callable[[str], bool], str]]] = {
    "money": (lambda text: _reads(text, parse_money), '"5.00 USD"'),
    "whole days": (lambda text: _reads(text, parse_duration) and text.endswith("d"), "2d"),
    "a duration": (lambda text: _reads(text, parse_duration), "5m"),
    "a number": (lambda text: re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) is not None, '"0.5"'),
}
"""What a tolerance may be, how it is told, and an example."""
_FORMATS: Final = {"money": "money", "date": "whole days", "date-time": "a duration"}


def _tolerances(schema: JsonSchema) -> tuple[str, ...]:
    """Return what the tolerance of a field may be: nothing for what is either equal or not."""
    branches = (schema, *schema.get("anyOf", ()), *schema.get("oneOf", ()))
    found = next((_FORMATS[each["format"]] for each in branches if each.get("format") in _FORMATS), None)
    if found is not None:
        return (found,)
    kinds = {kind_of(each) for each in branches}
    if kinds & {"number", "integer"}:
        return ("a number",)
    return tuple(_TOLERANCES) if kinds == {"any"} else ()
