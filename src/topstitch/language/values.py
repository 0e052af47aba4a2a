"""Decides whether each expression and payload of a definition is right, without running it.

Compiles every expression in the scope of its field, compares payloads with what the action
wants, and follows what is read: is it there by then, may it be absent, is it personal?
``check`` and its families call it; nothing is evaluated, except what reads nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from topstitch.foundation.money import parse_money
from topstitch.language.cel import ExpressionError
from topstitch.language.cel_ast import Read
from topstitch.language.expressions import Facts, Part, parse_text, runtime_expression
from topstitch.language.functions import MONEY_FUNCTIONS
from topstitch.language.load import Path
from topstitch.language.report import Report, closest, nearest, place_in
from topstitch.language.scopes import Scope, Scopes, Typed
from topstitch.language.shapes import fits, kind_of, literal_trouble, words_of
from topstitch.model.action import JsonSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where an expression stands: its names, and what has happened by the time it is evaluated."""

    scope: Scope
    label: str
    """Whose field it is, for messages: a step's name, or what else it belongs to."""
    done: frozenset[str] | None = None
    """The steps whose input and output are there by then; ``None`` when steps are not read."""
    settled: frozenset[str] = frozenset()
    """The steps whose status is there by then, done or not."""
    context: frozenset[str] | None = None
    """The context reads that are there by then; ``None`` for all."""
    own_output: bool = True
    """Whether ``step.output`` is there."""


class Values:
    """The checks on expressions and payloads of one document."""

    def __init__(self, report: Report, scopes: Scopes) -> None:
        self.report = report
        self.scopes = scopes
        self.count = 0
        """How many expressions were typed."""

    def condition(self, path: Path, source: str, site: Site) -> Typed | None:
        """Check a bare expression that must be true or false."""
        typed = self._compile(path, source, 0, site)
        if typed is not None and typed.type not in ("BOOL", "DYN"):
            self._type(path, {"type": "boolean"}, typed)
        return typed

    def expression(self, path: Path, text: str, site: Site, schema: JsonSchema) -> Typed | None:
        """Check a field that holds an expression, written bare or with ``= `` before it."""
        offset = len(text) - len(text[1:].lstrip()) if text.startswith("=") and not text.startswith("==") else 0
        typed = self._compile(path, text[offset:], offset, site)
        if typed is not None and not fits(typed.type, schema, self.scopes.shapes):
            self._type(path, schema, typed)
        return typed

    def payload(
        self,
        path: Path,
        given: Mapping[str, Any],
        wanted: JsonSchema,
        site: Site,
        at: Path,
        free: frozenset[str] = frozenset(),
    ) -> None:
        """Check a ``with`` against an action's input.

        ``at`` is where a missing field is reported; ``free`` are fields that are given elsewhere.
        """
        if self.report.touched(path):
            return
        properties: Mapping[str, JsonSchema] = wanted.get("properties", {})
        closed = wanted.get("additionalProperties") is not True and "properties" in wanted
        missing = [name for name in wanted.get("required", ()) if name not in given and name not in free]
        for name, value in given.items():
            here = (*path, name)
            if name in properties or not closed:
                self.value(here, value, properties.get(name, {}), site, required=name in wanted.get("required", ()))
            elif not self.report.touched(here):
                self.report.add(
                    "unknown-field", here, f"there is no field '{name}'", nearest(name, properties), key=True
                )
                if (meant := closest(name, missing)) is not None:
                    missing.remove(meant)  # misspelt, and said so
        missing = [name for name in missing if not self.report.touched((*path, name))]
        if missing:
            self.report.add(
                "payload",
                at,
                f"{_listed(missing)} {'is' if len(missing) == 1 else 'are'} missing",
                "the action wants " + _wants(wanted),
                key=True,
                breaks=(*path, missing[0]),
            )

    def value(self, path: Path, value: Any, schema: JsonSchema, site: Site, *, required: bool = False) -> None:
        """Check one value of a payload."""
        if self.report.touched(path):
            return
        if isinstance(value, str):
            self._text(path, value, schema, site, required=required)
            return
        if trouble := literal_trouble(value, schema):
            self.report.add("type", path, f"'{_name(path)}' wants {words_of(schema)}; this is {trouble}")
        elif isinstance(value, dict):
            self._record(path, value, schema, site)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self.value((*path, index), item, schema.get("items", {}), site)

    def text(self, path: Path, text: str, site: Site) -> None:
        """Check a text that people read: a title, a name."""
        self._text(path, text, {"type": "string", "x-personal": True}, site)

    def _record(self, path: Path, value: dict[str, Any], schema: JsonSchema, site: Site) -> None:
        if kind_of(schema) == "record":
            self.payload(path, value, schema, site, path)
            return
        for name, item in value.items():
            self.value((*path, name), item, {key: schema[key] for key in ("x-personal",) if key in schema}, site)

    def _text(self, path: Path, text: str, schema: JsonSchema, site: Site, *, required: bool = False) -> None:
        try:
            parsed = parse_text(text)
        except ExpressionError as failure:
            self._failed(path, failure, 0, site)
            return
        if isinstance(parsed, list):
            self._interpolated(path, parsed, schema, site)
        elif parsed.source is None:
            self._literal(path, parsed.text or "", schema)
        else:
            self._typed(path, parsed, schema, site, required=required)

    def _literal(self, path: Path, text: str, schema: JsonSchema) -> None:
        if re.match(r"=[A-Za-z!(\[{]", text):
            self.report.add(
                "expression",
                path,
                "an expression needs a space after '='",
                f"write '= {text[1:40]}', or '==' for the sign itself",
            )
        elif re.fullmatch(r"(?:trigger|context|steps?|flags|process)(?:\.\w+)+", text):
            self.report.add(
                "literal",
                path,
                f"'{text}' is sent as these very letters",
                f"write '= {text}' for its value",
                severity="warning",
            )
        elif trouble := literal_trouble(text, schema):
            remedy = nearest(text, schema["enum"]) if schema.get("enum") else None
            self.report.add("type", path, f"'{_name(path)}' wants {words_of(schema)}; this is {trouble}", remedy)

    def _interpolated(self, path: Path, parts: list[Part], schema: JsonSchema, site: Site) -> None:
        broken = False
        for part in parts:
            if part.source is None:
                continue
            typed = self._compile(path, part.source, part.offset, site)
            broken = broken or typed is None
            if typed is not None:
                self._in_text(path, part, typed)
                self._personal(path, typed, schema)
        if not broken and kind_of(schema) not in ("string", "money", "any"):
            self.report.add(
                "type",
                path,
                f"'{_name(path)}' wants {words_of(schema)}; this is text",
                "use '= expression' to keep the type",
            )

    def _in_text(self, path: Path, part: Part, typed: Typed) -> None:
        place = place_in(self.report.document, path, part.offset, len(part.source or ""))
        if typed.type.startswith("optional"):
            self.report.add(
                "optional",
                path,
                f"'{_shown(part.source)}' may be absent",
                "give it a text with .orValue('...')",
                span=place,
            )
        elif typed.type.startswith(("LIST", "MAP")) or typed.type in self.scopes.shapes.schemas:
            self.report.add(
                "type",
                path,
                "a list or a record cannot stand in a text",
                "choose a field of it, or join(...) it",
                span=place,
            )

    def _typed(self, path: Path, part: Part, schema: JsonSchema, site: Site, *, required: bool) -> None:
        typed = self._compile(path, part.source or "", part.offset, site)
        if typed is None:
            return
        optional = re.fullmatch(r"optional_type<(.*)>", typed.type)
        if optional and required:
            self.report.add(
                "optional",
                path,
                f"'{_name(path)}' is required, and this may be absent",
                "give it a value with .orValue(...)",
            )
        elif not fits(optional[1] if optional else typed.type, schema, self.scopes.shapes):
            self._type(path, schema, typed)
        else:
            self._constant_choice(path, typed, schema, part.source or "")
            self._personal(path, typed, schema)

    def _constant_choice(self, path: Path, typed: Typed, schema: JsonSchema, source: str) -> None:
        if not (schema.get("enum") and typed.syntax.constant):
            return
        if trouble := literal_trouble(constant(source), schema):
            self.report.add("type", path, f"'{_name(path)}' wants {words_of(schema)}; this is {trouble}")

    def _type(self, path: Path, schema: JsonSchema, typed: Typed) -> None:
        given = self.said(typed)
        remedy = None
        if kind_of(schema) == "money":
            remedy = 'read an amount of money, or write one: "2500.00 USD"'
        elif schema == {"type": "boolean"}:
            remedy = "compare it with something"
        self.report.add("type", path, f"'{_name(path)}' wants {words_of(schema)}; this is {given}", remedy)

    def said(self, typed: Typed) -> str:
        """Say an expression's type in an author's words."""
        return _said(typed.type)

    # -- what an expression reads -------------------------------------------------------------------

    def _compile(self, path: Path, source: str, offset: int, site: Site) -> Typed | None:
        if self.report.touched(path):
            return None
        self.count += 1
        try:
            typed = self.scopes.compile(source, site.scope)
        except ExpressionError as failure:
            self._failed(path, failure, offset, site)
            return None
        if self._reads_well(path, typed, source, offset, site):
            return typed
        self.report.break_off(path)
        return None

    def _failed(self, path: Path, failure: ExpressionError, offset: int, site: Site) -> None:
        source = str(failure.detail.get("expression", ""))
        before = sum(len(row) + 1 for row in source.split("\n")[: failure.line - 1])
        place = place_in(self.report.document, path, offset + before + failure.column - 1, failure.length)
        code, message, remedy = "expression", failure.sentence, failure.help
        if failure.absent is not None:
            code, message, remedy = self._absent(failure.absent, site, message)
        elif remedy is None and (name := re.match(r"'([^']*)' does not exist here", message)):
            remedy = nearest(name[1], site.scope.names)
        self.report.add(code, path, message, remedy, span=place)

    def _absent(self, absent: tuple[str, str], site: Site, message: str) -> tuple[str, str, str | None]:
        """Say which record lacks the field, and which fields it has."""
        type_name, name = absent
        schema = self.scopes.shapes.schemas.get(type_name, {})
        properties = schema.get("properties", {})
        if schema is site.scope.names.get("steps"):
            return "unknown-step", f"there is no step '{name}'", nearest(name, properties)
        if schema is site.scope.names.get("flags"):
            return "unknown-flag", f"nothing sets the flag '{name}'", nearest(name, properties)
        if not properties:
            return "expression", message, None
        return "expression", message, nearest(name, properties)

    def _reads_well(self, path: Path, typed: Typed, source: str, offset: int, site: Site) -> bool:
        """Check what is read; at most one finding, so that one mistake is said once."""
        if typed.syntax.walks_map:
            self.report.add(
                "expression",
                path,
                "going over a map has no defined order",
                "go over a list, or read the fields by name",
            )
            return False
        for read in typed.syntax.reads:
            trouble = self._unavailable(read, site) or self._may_be_absent(read, typed)
            if trouble:
                code, message, remedy = trouble
                self.report.add(code, path, message, remedy, span=self._read_place(path, read, source, offset))
                return False
        return self._limits_are_money(path, typed, source, offset)

    def _limits_are_money(self, path: Path, typed: Typed, source: str, offset: int) -> bool:
        for function, arguments in typed.syntax.calls:
            if function not in MONEY_FUNCTIONS or not arguments or arguments[0] is None:
                continue
            try:
                parse_money(arguments[0])
            except ValueError:
                at, length = source.find(arguments[0]), len(arguments[0])
                self.report.add(
                    "expression",
                    path,
                    f"'{arguments[0]}' is not an amount of money",
                    'write it as "2500 USD"',
                    span=place_in(self.report.document, path, offset + at, length) if length and at >= 0 else None,
                )
                return False
        return True

    def _unavailable(self, read: Read, site: Site) -> tuple[str, str, str | None] | None:
        """Say why a path is not there by then."""
        root, name, part = (*read.path, "", "")[:3]
        dotted = ".".join(read.path)
        if root == "step" and name == "output" and not site.own_output:
            return "dependency", f"'{dotted}' is not there: the step was not completed", "read step.input"
        if root == "context" and site.context is not None and name and name not in site.context:
            return "order", f"'{dotted}' is read further down", f"move '{name}' above it"
        if root != "steps" or site.done is None:
            return None
        if not name or not part:
            return (
                "dependency",
                f"'{site.label}' reads '{dotted}' as a whole",
                "name a field: steps.<step>.output.<field>",
            )
        if name in site.done or (part == "status" and name in site.settled):
            return None
        if part == "status":
            return (
                "dependency",
                f"'{site.label}' reads '{dotted}' but does not wait for '{name}'",
                f"add '{name}' to needs or after",
            )
        if read.optional_from == 2 and name in site.settled:
            return None
        return "dependency", f"'{site.label}' reads '{dotted}' but does not need '{name}'", f"add '{name}' to needs"

    def _may_be_absent(self, read: Read, typed: Typed) -> tuple[str, str, str | None] | None:
        """Say which part of a path may be absent though the expression counts on it."""
        guarded = _guards(typed.syntax.reads)
        schema: JsonSchema = typed.scope.names.get(read.path[0], {})
        for index, part in enumerate(read.path[1:], 1):
            properties = schema.get("properties")
            if not properties or part not in properties:
                return None
            here = read.path[: index + 1]
            tolerated = read.optional_from is not None and read.optional_from <= index
            last_test = read.tested and index == len(read.path) - 1
            if part not in schema.get("required", ()) and not tolerated and not last_test and here not in guarded:
                dotted = ".".join(here)
                return "optional", f"'{dotted}' may be absent", f"write '.?{part}' or guard it with has({dotted})"
            schema = properties[part]
        return None

    def _read_place(self, path: Path, read: Read, source: str, offset: int) -> Any:
        pattern = r"\s*(?:\.\s*\??|\[\s*\??\s*[\"'])\s*".join(re.escape(part) for part in read.path)
        found = re.search(rf"(?<![\w.]){pattern}", source)
        if found is None:
            return place_in(self.report.document, path, offset, len(source))
        return place_in(self.report.document, path, offset + found.start(), len(found[0]))

    # -- personal data and secrets ------------------------------------------------------------------

    def _personal(self, path: Path, typed: Typed, schema: JsonSchema) -> None:
        """Warn when a personal field flows into one that is not marked so."""
        if schema.get("x-secret") or typed.type == "BOOL":
            return
        for read in typed.syntax.reads:
            source = schema_at(typed.scope.names.get(read.path[0], {}), read.path[1:])
            if read.tested:
                continue
            if source.get("x-secret"):
                self.report.add(
                    "secret",
                    path,
                    f"'{'.'.join(read.path)}' is a secret and would be written to the journal",
                    "let the connector hold it",
                )
                return
            masked = any(name == "mask" for name, _ in typed.syntax.calls)
            if source.get("x-personal") and not (schema.get("x-personal") or masked or not schema):
                self.report.add(
                    "personal",
                    path,
                    f"'{'.'.join(read.path)}' is personal; '{_name(path)}' is not marked so",
                    "leave it out, mask(...) it, or have the connector mark the field x-personal",
                    severity="warning",
                )
                return


def constant(source: str) -> Any:
    """Return the value of an expression that reads nothing; ``None`` when it has none."""
    try:
        return runtime_expression(source).evaluate(Facts({}))
    except ExpressionError:
        return None


def schema_at(schema: JsonSchema, parts: Iterable[str]) -> JsonSchema:
    """Return the schema of the field that a path leads to; marks on what surrounds it count for it."""
    marks: dict[str, Any] = {}
    for part in parts:
        schema = schema.get("properties", {}).get(part, {})
        marks |= {key: schema[key] for key in ("x-personal", "x-secret") if key in schema}
    return {**schema, **marks}


def _guards(reads: Iterable[Read]) -> frozenset[tuple[str, ...]]:
    """Return the paths whose absence an expression asks about."""
    tested = {read.path for read in reads if read.tested}
    return frozenset(tested | {read.path[: read.optional_from + 1] for read in reads if read.optional_from is not None})


def _listed(names: list[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " and " + quoted[-1]


def _wants(schema: JsonSchema) -> str:
    required = set(schema.get("required", ()))
    return ", ".join(f"{name}" if name in required else f"{name} (optional)" for name in schema.get("properties", {}))


def _name(path: Path) -> str:
    return str(next((part for part in reversed(path) if isinstance(part, str)), "the value"))


def _shown(source: str | None) -> str:
    return " ".join((source or "").split())[:80]


def _said(name: str) -> str:
    if inner := re.fullmatch(r"(LIST|optional_type)<(.*)>", name):
        return f"a list of {_said(inner[2])}" if inner[1] == "LIST" else f"{_said(inner[2])} that may be absent"
    return _SAID.get(name) or ("a map" if name.startswith("MAP") else "a record")


_SAID: Final = {
    "STRING": "text",
    "BOOL": "true or false",
    "INT": "a whole number",
    "UINT": "a whole number",
    "DOUBLE": "a number",
    "DYN": "anything",
    "topstitch.Money": "money",
    "NULL": "null",
    "TIMESTAMP": "a time",
    "DURATION": "a duration",
    "BYTES": "bytes",
}
