"""Decides which names each field of a definition may read, and of what type they are.

``values`` compiles every expression in the scope of its field. Scopes are JSON Schemas put
together from the connectors' contracts; the ones of the engine's own names stand here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from topstitch.language.cel import compile_source, environment
from topstitch.language.cel_ast import Syntax
from topstitch.language.schema import FlagItem, Step, Workflow
from topstitch.language.shapes import Shapes
from topstitch.model.action import ActionContract, JsonSchema

ANY: Final[JsonSchema] = {}


def record(properties: Mapping[str, JsonSchema], optional: frozenset[str] = frozenset()) -> JsonSchema:
    """Return the schema of a record; fields are required unless they are named optional."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
    }


_TEXT: Final[JsonSchema] = {"type": "string"}
_TIME: Final[JsonSchema] = {"type": "string", "format": "date-time"}
PROCESS: Final = record(
    {
        "id": _TEXT,
        "workflow": _TEXT,
        "version": _TEXT,
        "title": {**_TEXT, "x-personal": True},
        "key": _TEXT,
        "requester": _TEXT,
        "started_at": _TIME,
    }
)
"""``process``: the instance. ``started_at`` stands in for a clock, which expressions have not."""
DIFFERENCE: Final = record(
    {
        "system": _TEXT,
        "record": _TEXT,
        "field": _TEXT,
        "fields": {"type": "array", "items": _TEXT},
        "severity": {"type": "string", "enum": ["low", "medium", "high"]},
        "expected": ANY,
        "actual": ANY,
        "check": _TEXT,
        "proposal": _TEXT,
    }
)
"""``difference``: what reconciliation confirmed; ``expected`` and ``actual`` are those of the first field."""
STATUS: Final[JsonSchema] = {
    "type": "string",
    "enum": [
        "waiting", "asking", "running", "unknown", "done", "done_by_hand", "skipped", "declined", "given_up",
        "not_run", "undone", "undone_by_hand", "undo_open",
    ],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scope:
    """The names a field may read, with their schemas and types."""

    names: Mapping[str, JsonSchema]
    types: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Typed:
    """An expression compiled against the types of its scope."""

    type: str
    syntax: Syntax
    scope: Scope


@dataclass(slots=True)
class Scopes:
    """The scopes of one workflow. ``prepare`` must see every record before anything compiles."""

    shapes: Shapes = field(default_factory=Shapes)
    base: dict[str, JsonSchema] = field(default_factory=dict)
    step_inputs: dict[str, JsonSchema] = field(default_factory=dict)
    step_outputs: dict[str, JsonSchema] = field(default_factory=dict)
    _steps: dict[str, JsonSchema] = field(default_factory=dict)
    _environments: dict[tuple[tuple[str, str], ...], Any] = field(default_factory=dict)
    _scopes: dict[tuple[tuple[str, int], ...], Scope] = field(default_factory=dict)

    def prepare(
        self,
        workflow: Workflow,
        trigger: JsonSchema | None,
        reads: Mapping[str, ActionContract | None],
        actions: Mapping[str, JsonSchema],
        lost: frozenset[str] = frozenset(),
    ) -> None:
        """Build the names that all fields share.

        ``actions`` maps what else is read to its output; ``lost`` are steps that are there but
        too broken to be looked at: anything may be read from them.
        """
        optional_reads = frozenset(
            name for name, read in workflow.context.items() if read.optional or read.when is not None
        )
        context = record({name: read.output if read else ANY for name, read in reads.items()}, optional_reads)
        flags = record({name: {"type": "boolean"} for name in sorted(declared_flags(workflow))})
        for name, step in workflow.steps.items():
            self._steps[name] = self._step_record(name, step)
        steps = record(
            {name: _status_too(self._steps[name]) for name in workflow.steps} | dict.fromkeys(sorted(lost), ANY)
        )
        self.base = {
            "trigger": trigger if trigger is not None else ANY,
            "context": context,
            "steps": steps,
            "flags": flags,
            "process": PROCESS,
            "env": _TEXT,
        }
        self._register(list(self.base.items()) + list(actions.items()))
        self._register([("step", _BEFORE), ("difference", DIFFERENCE), *self._steps.items()])
        self.shapes.seal()

    def _step_record(self, name: str, step: Step) -> JsonSchema:
        given, output = self.step_inputs.get(name, ANY), self.step_outputs.get(name, ANY)
        if step.for_each is not None:
            given = output = ANY
        return record({"status": STATUS, "started_at": _TIME, "input": given, "output": output})

    def _register(self, schemas: list[tuple[str, JsonSchema]]) -> None:
        for name, schema in schemas:
            self.shapes.type_of(schema, name.replace(".", "_"))

    def scope(self, *names: str, **more: JsonSchema) -> Scope:
        """Return the scope with these shared names and these of the field's own."""
        schemas: dict[str, JsonSchema] = {name: self.base[name] for name in names} | more
        key = tuple(sorted((name, id(schema)) for name, schema in schemas.items()))
        if key not in self._scopes:
            types = tuple(sorted((name, self.shapes.type_of(schema, name)) for name, schema in schemas.items()))
            self._scopes[key] = Scope(schemas, types)
        return self._scopes[key]

    def before(self, **more: JsonSchema) -> Scope:
        """Return what a step may read before it acts."""
        return self.scope(*ALL, step=_BEFORE, **more)

    def after(self, step: str, **more: JsonSchema) -> Scope:
        """Return what a step may read once it has acted."""
        return self.scope(*ALL, step=self._steps[step], **more)

    def compile(self, source: str, scope: Scope) -> Typed:
        """Type an expression; raise ``ExpressionError`` with the place of the first error."""
        if scope.types not in self._environments:
            variables = {name: self.shapes.cel_type(type_text) for name, type_text in scope.types}
            self._environments[scope.types] = environment(variables, pool=self.shapes.pool, typed_money=True)
        program, syntax = compile_source(self._environments[scope.types], source)
        return Typed(program.return_type().name(), syntax, scope)


ALL: Final = ("trigger", "context", "steps", "flags", "process", "env")
_BEFORE: Final = record({"status": STATUS, "started_at": _TIME})


def _status_too(step: JsonSchema) -> JsonSchema:
    properties = dict(step["properties"])
    return record({"status": STATUS, "input": properties["input"], "output": properties["output"]})


def declared_flags(workflow: Workflow) -> frozenset[str]:
    """Return every flag some ending or compensation may set. ``flags`` holds all of them, false until set."""
    found: set[str] = set()
    for step in workflow.steps.values():
        if step.approval is not None:
            found.update(ending.flag for ending in (step.approval.refused, step.approval.unanswered) if ending.flag)
        if step.compensate is not None:
            found.update(item.flag for item in step.compensate.do if isinstance(item, FlagItem))
    return frozenset(found)
