"""Decides, once per action, how its request is written and how its answer is read.

``compile_document`` turns a checked file into a contract and compiled actions; every path,
template and name is checked here with its place in the file, so that a call can trust
them. Nothing here performs a request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from topstitch.connectors.contract import CallContext, rule_problems
from topstitch.connectors.declarative.document import (
    ActionText,
    Document,
    ErrorClass,
    ErrorRule,
    FieldType,
    InputField,
    OutputField,
    seconds,
)
from topstitch.connectors.declarative.paths import (
    ABSENT,
    Filler,
    Getter,
    Params,
    compile_path,
    compile_template,
    compile_url,
)
from topstitch.connectors.declarative.positions import At, Text
from topstitch.connectors.schemas import check_date, check_money
from topstitch.foundation.timetext import parse_time
from topstitch.model.action import ActionContract, Effect, EventContract, Idempotency, SystemContract

Check = Callable[[Any], bool]

_TYPES: Final[Mapping[FieldType, Mapping[str, str]]] = {
    FieldType.TEXT: {"type": "string"},
    FieldType.WHOLE: {"type": "integer"},
    FieldType.NUMBER: {"type": "number"},
    FieldType.BOOL: {"type": "boolean"},
    FieldType.MONEY: {"type": "string", "format": "money"},
    FieldType.DATE: {"type": "string", "format": "date"},
    FieldType.TIME: {"type": "string", "format": "date-time"},
    FieldType.LIST: {"type": "array"},
    FieldType.MAP: {"type": "object"},
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One error rule, compiled."""

    statuses: frozenset[int] | None
    code: str | None
    contains: bytes | None
    where: tuple[tuple[Getter, Any], ...]
    class_: ErrorClass
    wait_header: str
    message: Getter | None


@dataclass(frozen=True, slots=True)
class Pages:
    """How a list goes on, compiled."""

    rows: Getter
    rows_path: str
    next: Getter | None
    cursor: Getter | None
    param: str | None
    page_size: int | None
    pages_max: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """How the one meant row is picked, compiled."""

    rows: Getter
    where: tuple[tuple[Getter, Filler], ...]


@dataclass(frozen=True, slots=True)
class Compiled:
    """One action, ready to be called."""

    contract: ActionContract
    method: str
    writes: bool
    url: Callable[[Params, CallContext], str]
    query: Filler | None
    headers: Filler | None
    body: Filler | None
    form: Filler | None
    checks: tuple[tuple[str, bool, Check], ...]
    output: tuple[tuple[str, Filler | None, Getter | None, Check, bool], ...]
    """Name, from the input, or from the answer, check, optional."""
    pick: Chosen | None
    pages: Pages | None
    absent: frozenset[int]
    found: frozenset[int]
    record: Getter | None
    link: Getter | None
    rules: tuple[Rule, ...]
    looks_up: bool
    """Whether nothing is a good answer."""


@dataclass(frozen=True, slots=True)
class CompiledEvent:
    """One kind of notification, compiled."""

    where: tuple[tuple[Getter, Any], ...]
    id: Getter
    source: Getter | None
    fields: tuple[tuple[str, Getter, Check, bool], ...]


def compile_document(
    document: Document, text: Text, settings: Mapping[str, str]
) -> tuple[SystemContract, Mapping[str, Compiled], Mapping[str, CompiledEvent]]:
    """Return the contract and the compiled actions and events; raise ``OperatorError`` with the place."""
    _check_names(document, text)
    compiler = _Compiler(document, text, settings)
    actions = {name: compiler.action(name, action) for name, action in document.actions.items()}
    contract = SystemContract(
        name=document.system,
        major=document.version,
        title=document.title or document.system,
        kind=document.kind,
        actions={name: action.contract for name, action in actions.items()},
        events={
            name: EventContract(name=name, title=event.title, doc=event.doc, data=_object(event.data))
            for name, event in document.events.items()
        },
    )
    for problem in rule_problems(contract):
        raise text.error(("actions", problem.partition(" ")[0].rstrip(":")), problem)
    if document.health and document.health not in document.actions:
        raise text.error(("health",), f"there is no action {document.health}; name a read of this file")
    return contract, actions, {name: compiler.event(name) for name in document.events}


def _check_names(document: Document, text: Text) -> None:
    """Raise unless every look-up is a read of this file and every undo a write."""
    for name, action in document.actions.items():
        for word, other, reads in (("lookup", action.lookup, True), ("undo", action.undo, False)):
            if other is None:
                continue
            target = document.actions.get(other)
            if target is None or (target.effect is Effect.READ) is not reads:
                kind = "read" if reads else "write"
                raise text.error(("actions", name, word), f"{other} is no {kind} of this file; name one")


class _Compiler:
    def __init__(self, document: Document, text: Text, settings: Mapping[str, str]) -> None:
        self._document = document
        self._text = text
        self._settings = settings
        self._lookups = {action.lookup for action in document.actions.values() if action.lookup}

    def action(self, name: str, action: ActionText) -> Compiled:
        at: At = ("actions", name)
        inputs, outputs = self._inputs(name, action, at), self._outputs(name, action, at)
        known = frozenset(inputs)
        request = action.request
        fill = self._filler(known)
        query, headers, body = self._with_key(action, at)
        writes = action.effect is not Effect.READ
        return Compiled(
            contract=self._contract(name, action, inputs, outputs),
            method=request.method,
            writes=writes,
            url=self._guarded((*at, "request", "path"), lambda: compile_url(request.path, self._settings, known)),
            query=fill(query, (*at, "request", "query")),
            headers=fill(headers, (*at, "request", "headers")),
            body=fill(body, (*at, "request", "body")),
            form=fill(request.form, (*at, "request", "form")),
            checks=tuple((n, f.optional, _check(f)) for n, f in inputs.items()),
            output=tuple(self._output(n, f, known, (*at, "output", n)) for n, f in outputs.items()),
            pick=self._pick(action, known, (*at, "pick")),
            pages=self._pages(action, (*at, "paging")),
            absent=frozenset(self._absent(name, action)),
            found=frozenset(action.found_when),
            record=self._path(action.record, (*at, "record")),
            link=self._path(action.url, (*at, "url")),
            rules=tuple(self._rules(action, at)),
            looks_up=name in self._lookups,
        )

    def event(self, name: str) -> CompiledEvent:
        event, at = self._document.events[name], ("events", name)
        return CompiledEvent(
            where=tuple((self._needed(p, (*at, "where", p)), v) for p, v in event.where.items()),
            id=self._needed(event.id, (*at, "id")),
            source=self._path(event.source or None, (*at, "source")),
            fields=tuple(
                (n, self._getter(n, f, (*at, "data", n)), _check(f), f.optional) for n, f in event.data.items()
            ),
        )

    def _inputs(self, name: str, action: ActionText, at: At) -> Mapping[str, InputField]:
        """Return the input; a look-up without one takes its write's."""
        if action.input is None:
            writes = [a for a in self._document.actions.values() if a.lookup == name and a.input is not None]
            return (writes[0].input or {}) if writes else {}
        if len(action.input) == 0 and action.effect is not Effect.READ:
            raise self._text.error((*at, "input"), "a write takes nothing; name what it writes")
        return action.input

    def _outputs(self, name: str, action: ActionText, at: At) -> Mapping[str, OutputField]:
        """Return the output; a look-up without one gives its write's."""
        if action.output is not None:
            return action.output
        writes = [a for a in self._document.actions.values() if a.lookup == name and a.output is not None]
        if not writes and action.effect is Effect.READ:
            raise self._text.error(at, "output is missing; say what the read returns")
        return (writes[0].output or {}) if writes else {}

    def _contract(
        self, name: str, action: ActionText, inputs: Mapping[str, InputField], outputs: Mapping[str, OutputField]
    ) -> ActionContract:
        return ActionContract(
            name=name,
            effect=action.effect,
            title=action.title or name.replace("_", " "),
            doc=action.doc,
            input=_object(inputs),
            output=_object(outputs),
            idempotency=action.idempotency_class,
            lookup=action.lookup,
            undo=action.undo,
            irreversible=action.irreversible,
            risk_floor=action.risk,
            settle_seconds=seconds(action.settle),
            timeout_seconds=seconds(action.timeout),
        )

    def _with_key(self, action: ActionText, at: At) -> tuple[Any, Any, Any]:
        """Return query, headers and body with our key where the idempotency says it goes."""
        request, placed = action.request, action.idempotency
        query, headers, body = dict(request.query), dict(request.headers), request.body
        if isinstance(placed, str) or placed is None:
            if placed is Idempotency.NATIVE_KEY and "{key}" not in str(request.model_dump()):
                raise self._text.error(
                    (*at, "idempotency"),
                    "native_key, but the key is sent nowhere; name header, query or body, or use {key}",
                )
            return query, headers, body
        if placed.header:
            headers[placed.header] = "{key}"
        if placed.query:
            query[placed.query] = "{key}"
        if placed.body:
            if not isinstance(body, dict | None):
                raise self._text.error((*at, "request", "body"), "the key goes into a map; write the body as one")
            body = {**(body or {}), placed.body: "{key}"}
        return query, headers, body

    def _filler(self, known: frozenset[str]) -> Callable[[Any, At], Filler | None]:
        def fill(template: Any, at: At) -> Filler | None:
            if template is None or template == {}:
                return None
            return self._template(template, known, at)

        return fill

    def _template(self, template: Any, known: frozenset[str], at: At) -> Filler:
        filler: Filler = self._guarded(at, lambda: compile_template(template, self._settings, known))
        return filler

    def _output(
        self, name: str, field: OutputField, known: frozenset[str], at: At
    ) -> tuple[str, Filler | None, Getter | None, Check, bool]:
        check = _check(field)
        if field.input is not None:
            template = f"{{input.{field.input}}}"
            filler = self._guarded((*at, "input"), lambda: compile_template(template, self._settings, known))
            return name, filler, None, check, field.optional
        return name, None, self._getter(name, field, at), check, field.optional

    def _getter(self, name: str, field: OutputField, at: At) -> Getter:
        if field.value is not None:
            fixed = field.value
            return lambda _: fixed
        get = self._needed(field.from_ or name, (*at, "from"))
        if field.present:
            return lambda value: get(value) not in (None, "", [], {})
        if field.fields and field.type is FieldType.LIST:
            get = _rows(get, [(n, self._getter(n, f, (*at, "fields", n))) for n, f in field.fields.items()])
        if field.map:
            return _mapped(get, field.map)
        return get

    def _pick(self, action: ActionText, known: frozenset[str], at: At) -> Chosen | None:
        if action.pick is None:
            return None
        where = action.pick.where
        return Chosen(
            rows=self._needed(action.pick.rows, (*at, "rows")),
            where=tuple(
                (
                    self._needed(path, (*at, "where", path)),
                    self._template(template, known, (*at, "where", path)),
                )
                for path, template in where.items()
            ),
        )

    def _pages(self, action: ActionText, at: At) -> Pages | None:
        paging = action.paging
        if paging is None:
            return None
        if (paging.next is None) and paging.param is None:
            raise self._text.error(at, "does not say how it goes on; name next, or param with cursor or page_size")
        if paging.next is None and (paging.cursor is None) == (paging.page_size is None):
            raise self._text.error(at, "needs either cursor or page_size beside param; name one")
        if "[]" in paging.rows or paging.rows == "$":
            raise self._text.error((*at, "rows"), "must be the path of a list in the answer; write it as data.items")
        return Pages(
            rows=self._needed(paging.rows, (*at, "rows")),
            rows_path=paging.rows,
            next=self._path(paging.next, (*at, "next")),
            cursor=self._path(paging.cursor, (*at, "cursor")),
            param=paging.param,
            page_size=paging.page_size,
            pages_max=paging.pages_max,
        )

    def _absent(self, name: str, action: ActionText) -> list[int]:
        if action.absent_when is not None:
            return action.absent_when
        return [404, 410] if name in self._lookups else []

    def _rules(self, action: ActionText, at: At) -> list[Rule]:
        own = [self._rule(rule, (*at, "errors", n)) for n, rule in enumerate(action.errors)]
        return own + [self._rule(rule, ("errors", n)) for n, rule in enumerate(self._document.errors)]

    def _rule(self, rule: ErrorRule, at: At) -> Rule:
        if rule.code is not None and self._document.code_path is None:
            raise self._text.error((*at, "code"), "code_path is not said; add code_path to the file")
        where = [(self._needed(path, (*at, "where", path)), value) for path, value in rule.where.items()]
        if rule.code is not None:
            where.append((self._needed(self._document.code_path or "", ("code_path",)), rule.code))
        if rule.status is None and not where and rule.contains is None:
            raise self._text.error(at, "fits every answer; name status, code, contains or where")
        statuses = [rule.status] if isinstance(rule.status, int) else rule.status
        return Rule(
            statuses=None if statuses is None else frozenset(statuses),
            code=rule.code,
            contains=None if rule.contains is None else rule.contains.encode(),
            where=tuple(where),
            class_=rule.class_,
            wait_header=rule.wait_header,
            message=self._path(rule.message_path or self._document.message_path, (*at, "message_path")),
        )

    def _path(self, path: str | None, at: At) -> Getter | None:
        return None if path is None else self._needed(path, at)

    def _needed(self, path: str, at: At) -> Getter:
        getter: Getter = self._guarded(at, lambda: compile_path(path))
        return getter

    def _guarded(self, at: At, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except ValueError as error:
            raise self._text.error(at, str(error)) from None


def _object(fields: Mapping[str, InputField]) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: _schema(field) for name, field in fields.items()},
        "additionalProperties": False,
    }
    required = [name for name, field in fields.items() if not field.optional]
    if required:
        schema["required"] = required
    return schema


def _schema(field: InputField) -> dict[str, Any]:
    schema: dict[str, Any] = dict(_TYPES[field.type])
    if field.type is FieldType.LIST:
        schema["items"] = _object(field.fields) if field.fields else dict(_TYPES[field.of])
    elif field.type is FieldType.MAP and field.fields:
        schema = _object(field.fields)
    if field.one_of:
        schema["enum"] = list(field.one_of)
    if field.doc:
        schema["description"] = field.doc
    if field.personal:
        schema["x-personal"] = True
    if field.secret:
        schema["x-secret"] = True
    return schema


def _check(field: InputField) -> Check:
    """Return the function that says whether a value has the field's type."""
    check = _CHECKS[field.type]
    if field.one_of:
        words = frozenset(field.one_of)
        return lambda value: value in words
    if field.type is FieldType.LIST and not field.fields:
        of = _CHECKS[field.of]
        return lambda value: isinstance(value, list | tuple) and all(map(of, value))
    return check


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _passes(check: Callable[[str], object]) -> Check:
    def passes(value: object) -> bool:
        try:
            return isinstance(value, str) and check(value) is not None
        except ValueError:
            return False

    return passes


_CHECKS: Final[Mapping[FieldType, Check]] = {
    FieldType.TEXT: _is_text,
    FieldType.WHOLE: _is_whole,
    FieldType.NUMBER: lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    FieldType.BOOL: lambda value: isinstance(value, bool),
    FieldType.MONEY: _passes(check_money),
    FieldType.DATE: _passes(check_date),
    FieldType.TIME: _passes(parse_time),
    FieldType.LIST: lambda value: isinstance(value, list | tuple),
    FieldType.MAP: lambda value: isinstance(value, Mapping),
}


def _mapped(get: Getter, words: Mapping[str, Any]) -> Getter:
    def mapped(value: Any) -> Any:
        found = get(value)
        word = str(found).lower() if isinstance(found, bool) else str(found)
        return words.get(word, words.get("*", found))

    return mapped


def _rows(get: Getter, parts: list[tuple[str, Getter]]) -> Getter:
    def rows(value: Any) -> Any:
        found = get(value)
        return [{name: part(row) for name, part in parts} for row in found] if isinstance(found, list) else None

    return rows


__all__ = ["ABSENT", "Chosen", "Compiled", "CompiledEvent", "Pages", "Rule", "compile_document"]
