"""Decides whether a document has the shape of a definition, and says where not.

Pydantic finds the errors; here they get words, places and remedies. What is wrong is then
cut off and the rest validated again, so that one slip does not hide what else is wrong.
Only ``check`` calls this.
"""

from __future__ import annotations

import copy
import re
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from topstitch.language.load import Document, Path
from topstitch.language.report import Report, closest, nearest
from topstitch.language.schema import Workflow

ROUNDS_MAX: Final = 12
"""How often what is wrong is cut off before the rest is given up."""


def validate(document: Document, report: Report) -> tuple[Workflow | None, bool]:
    """Return the workflow, and whether all of it is there; ``None`` when too little is right to go on."""
    data = document.data
    if not isinstance(data, dict):
        if data is not None:
            report.add("shape", (), "a definition is a mapping of fields", "start with 'workflow: a-name'")
        return None, False
    try:
        return _parse(data), True
    except ValidationError as failure:
        errors = failure.errors(include_url=False, include_context=True)
    missing = {_path(error["loc"]) for error in errors if error["type"] == "missing"}
    for error in sorted(errors, key=lambda error: error["type"] != "extra_forbidden"):
        _say(error, document, report, missing)
    return _rest(data, errors, report), False


def _parse(data: dict[str, Any]) -> Workflow:
    return Workflow.model_validate(data, strict=True, by_alias=True, by_name=False)


def _rest(data: dict[str, Any], errors: list[Any], report: Report) -> Workflow | None:
    """Cut off what is wrong until the rest is a workflow."""
    rest = copy.deepcopy(data)
    for _ in range(ROUNDS_MAX):
        if not all(_cut(rest, error, report) for error in errors):
            return None
        try:
            return _parse(rest)
        except ValidationError as failure:
            errors = list(failure.errors(include_url=False))
    return None


def _cut(rest: dict[str, Any], error: Any, report: Report) -> bool:
    path = _path(error["loc"])
    if error["type"] == "missing" or error["type"].endswith("too_short"):
        if len(path) == 1:
            return _stand_in(rest, str(path[0]), report)
        path = path[:-1] if error["type"] == "missing" else path
    while path and isinstance(path[-1], int):
        path = path[:-1]  # cutting one item would move the others to wrong places
    if not path:
        return False
    parent: Any = rest
    for part in path[:-1]:
        if not isinstance(parent, dict) or part not in parent:
            return True  # cut already, with something around it
        parent = parent[part]
    if isinstance(parent, dict):
        parent.pop(path[-1], None)
    report.break_off(path)
    return True


def _stand_in(rest: dict[str, Any], field: str, report: Report) -> bool:
    """Put something valid where a whole part is missing; it is broken, so nothing is said about it."""
    if field not in _STAND_INS:
        return False
    rest[field] = copy.deepcopy(_STAND_INS[field])
    report.break_off((field,))
    return True


_STAND_INS: Final[Mapping[str, Any]] = {
    "workflow": "unnamed",
    "version": "0.0.0",
    "title": "Untitled",
    "purpose": "None",
    "owner": {"team": "nobody"},
    "systems": {},
    "trigger": {"on": "nothing.nothing", "one_per": "= 1"},
    "reconcile": {
        "at": ["T+1h"],
        "records": {},
        "on_difference": {
            "do": "nothing.nothing",
            "with": {},
            "if_that_fails": {"task": {"to": "owner", "title": "None", "due": "1d", "give_up": "1d"}},
        },
    },
    "sla": {"none": {"steps": ["none"], "within": "1h"}},
}


def _path(loc: tuple[Any, ...]) -> Path:
    """Return the way to a value in the document: without the names of forms and of map keys."""
    return tuple(part for part in loc if not (isinstance(part, str) and (part.startswith("<") or part == "[key]")))


def _say(error: Any, document: Document, report: Report, missing: set[Path]) -> None:
    loc, kind = error["loc"], error["type"]
    path = _path(loc)
    if report.touched(path):
        return
    name = str(path[-1]) if path else ""
    if kind == "missing":
        report.missing(path[:-1], name, REMEDIES.get(name))
    elif kind == "extra_forbidden":
        known = sorted(_field_names(loc[:-1]))
        report.add("shape", path, f"there is no field '{name}' here", nearest(name, known), key=True)
        meant = closest(name, [str(other[-1]) for other in missing if other[:-1] == path[:-1]])
        if meant is not None:
            report.break_off((*path[:-1], meant))  # misspelt, and said so
    elif loc and loc[-1] == "[key]":
        report.add("shape", path, f"'{name}' is no name", f"write {_pattern_words(error)}", key=True)
    else:
        message, remedy = _wrong(error, path, document.at(path))
        report.add("shape", path, message, remedy)


def _wrong(error: Any, path: Path, value: Any) -> tuple[str, str | None]:
    name = str(next((part for part in reversed(path) if isinstance(part, str)), "this"))
    if value is None and error["type"] != "literal_error":
        return f"'{name}' has no value", REMEDIES.get(name, "write one, or remove the field")
    match error["type"]:
        case "string_pattern_mismatch":
            return f"'{name}' wants {_pattern_words(error)}; this is {_shown(value)}", _respelt(error, value)
        case "literal_error":
            choices = re.findall(r"'([^']*)'", error["ctx"]["expected"])
            return f"'{name}' wants {_or(choices)}; this is {_shown(value)}", _meant(value, choices)
        case "string_type":
            return _no_text(error["loc"], name, value)
        case "greater_than_equal" | "less_than_equal":
            bound = error["ctx"].get("ge", error["ctx"].get("le"))
            word = "at least" if error["type"].startswith("greater") else "at most"
            return f"'{name}' must be {word} {bound}; this is {_shown(value)}", None
        case "too_long":
            return (
                f"'{name}' holds more than {error['ctx']['max_length']}",
                "split the process: 'call' starts another one",
            )
        case "too_short" | "string_too_short":
            return f"'{name}' is empty", REMEDIES.get(name, "write at least one")
        case kind:
            remedy = _of_kind(kind, name, value)
            return f"'{name}' wants {_WANTED.get(kind, 'another value')}; this is {_kind(value)}", remedy


def _of_kind(kind: str, name: str, value: Any) -> str | None:
    """Say how a value of the wanted kind is written."""
    if kind == "int_type":
        return "write digits only, without quotes or a unit"
    if kind == "list_type":
        return f"write [{value}]" if isinstance(value, str) else "put it in [ ], or write each on a line after '- '"
    if kind == "dict_type" and isinstance(value, list):
        return "write each under its name instead of after '- '"
    return REMEDIES.get(name)


def _no_text(loc: tuple[Any, ...], name: str, value: Any) -> tuple[str, str | None]:
    """Say what a field wants that is given as something other than text."""
    if not isinstance(value, bool) and isinstance(value, int):
        if DURATION in _patterns_at(loc):
            return (
                f"'{name}' wants {_PATTERNS[DURATION]}; this is {value}",
                f"say the unit: {value}m, {value}h or {value}d",
            )
        return f"'{name}' wants text; this is {_kind(value)}", "put the text in quotes"
    return f"'{name}' wants text; this is {_kind(value)}", _condition_hint(name, value)


def _respelt(error: Any, value: Any) -> str | None:
    """Say how a value is written that was written almost so: ``24 hours``, ``2 x baseline``, ``0.03``."""
    pattern = str(error.get("ctx", {}).get("pattern", ""))
    if not isinstance(value, str):
        return None
    if pattern != DURATION:
        close = value.lower().replace(" ", "").replace("xbaseline", "x baseline")
        words = value.lower().split()
        tries = ("-".join(words), "_".join(words), close, value + "%", value[:1].upper() + close[1:], f"{value}@1")
        meant = next((each for each in tries if pattern and re.search(pattern, each)), None)
        return f"did you mean '{meant}'?" if meant and pattern != r"\S" else None
    said = re.fullmatch(r"([0-9]+)\s*(s|m|h|d)(?:ec|econd|in|inute|r|our|ay)?s?", value.strip().lower())
    return f"did you mean '{said[1]}{said[2]}'?" if said else None


_WANTED: Final = {
    "int_type": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping of fields",
    "model_type": "a mapping of fields",
    "model_attributes_type": "a mapping of fields",
}


def _meant(value: Any, choices: list[str]) -> str | None:
    meant = closest(value, choices) if isinstance(value, str) else None
    return f"did you mean '{meant}'?" if meant else None


def _condition_hint(name: str, value: Any) -> str | None:
    if isinstance(value, dict | list) and name in ("when", "check", "auto_when", "that", "match", "items"):
        return "put an expression that starts with '{' or '[' in quotes"
    return None


def _pattern_words(error: Any) -> str:
    return _PATTERNS.get(error.get("ctx", {}).get("pattern", ""), "another form")


DURATION: Final = r"^[0-9]+(s|m|h|d)$"
_PATTERNS: Final = {
    DURATION: "a duration such as 30s, 5m, 2h or 1d",
    r"^[a-z][a-z0-9_]*$": "a name of small letters, digits and _",
    r"^[a-z][a-z0-9-]*$": "a name of small letters, digits and -",
    r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$": "system.action, such as itsm.get_request",
    r"^[a-z][a-z0-9-]*@[0-9]+$": "a connector and its major version, such as servicenow@1",
    r"^\d+\.\d+\.\d+$": "three numbers such as 1.4.0",
    r"^(T\+[0-9]+(m|h|d)|month_end)$": "T+2h, T+1d or month_end",
    r"^[0-9]+(\.[0-9]+)?%$": "a percentage such as 3%",
    r"^[0-9]+(\.[0-9]+)?x baseline$": "a factor such as 2x baseline",
    r"\S": "text that is not empty",
}

REMEDIES: Final[Mapping[str, str]] = {
    "give_up": "a wait without an end is a silent stall: say when to give up",
    "rollback": "every step needs a rollback plan: 'rollback: {do: ...}' or "
    "'rollback: {none: why nothing is to be undone}'",
    "compensate": "say what is done when the step cannot be completed: 'compensate: {do: [...], then: ...}'",
    "refused": "say what happens when the answer is no: 'refused: {then: stop}'",
    "unanswered": "say what happens when nobody answers: 'unanswered: {then: stop}'; silence never approves",
    "otherwise": "say who is asked: 'otherwise: {from: ..., give_up: ...}'",
    "owner": "somebody answers for the whole process: 'owner: {team: ...}'",
    "team": "name the team that answers for the whole process",
    "sla": "the process needs a promise from end to end: 'sla: {done: {steps: [...], within: 2h}}'",
    "reconcile": "say when and what is compared: 'reconcile: {at: [T+2h], records: ..., on_difference: ...}'",
    "on_difference": "say what is done about a difference: 'on_difference: {do: ..., with: ..., if_that_fails: ...}'",
    "if_that_fails": "the last resort is a task: 'if_that_fails: {task: ...}'",
    "max": "say how many items there are at most",
    "one_per": "say what keeps instances apart: 'one_per: = trigger.<its own id>'",
    "version": "every definition has a version such as 1.0.0",
    "because": "say why, for the person who reads that the step did not go ahead",
    "not_done": "say what happens when the task is never done",
    "done": "say what happens when the task is done",
    "severity": "say low, medium or high",
    "to": "say who does it: group:..., manager_of(subject), owner",
    "due": "say by when, such as 4h",
    "then": "say continue, rollback or stop",
    "steps": "a process has at least one step",
    "trigger": "say which event starts it: 'trigger: {on: system.event, one_per: = trigger.<its own id>}'",
}


def _field_names(loc: tuple[Any, ...]) -> set[str]:
    """Return the fields that the mapping at a place of the schema can have."""
    here: list[Any] = [Workflow]
    for part in loc:
        here = [after for each in here for after in _inside(each, part)]
    return {field.alias or name for each in _forms(here) for name, field in each.model_fields.items()}


def _patterns_at(loc: tuple[Any, ...]) -> set[str]:
    """Return the patterns that the text at a place of the schema must match."""
    here: list[Any] = [Workflow]
    for part in loc[:-1]:
        here = [after for each in here for after in _inside(each, part)]
    found = {pattern for each in here for after in _inside(each, loc[-1]) for pattern in _patterns_of(after)}
    fields = [form.model_fields.get(str(loc[-1])) for form in _forms(here)]
    return found | {str(getattr(each, "pattern", "")) for f in fields if f is not None for each in f.metadata}


def _patterns_of(annotation: Any) -> Iterator[str]:
    """Yield the patterns that an annotation brings along."""
    for form in (annotation, *typing.get_args(annotation)):
        yield from (str(getattr(each, "pattern", "")) for each in getattr(form, "__metadata__", ()))


def _inside(annotation: Any, part: Any) -> Iterator[Any]:
    """Yield what stands at ``part`` of a value with this annotation."""
    if isinstance(part, str) and part.startswith("<"):
        named = [form for form in _forms([annotation]) if form.__name__ == part.strip("<>")]
        yield from named or [annotation]
        return
    for form in _unwrapped(annotation):
        if isinstance(form, type) and issubclass(form, BaseModel):
            yield from (field.annotation for name, field in form.model_fields.items() if (field.alias or name) == part)
        elif typing.get_origin(form) is dict:
            yield typing.get_args(form)[1]
        elif typing.get_origin(form) is list:
            yield typing.get_args(form)[0]


def _forms(annotations: list[Any]) -> list[type[BaseModel]]:
    return [
        form
        for annotation in annotations
        for form in _unwrapped(annotation)
        if isinstance(form, type) and issubclass(form, BaseModel)
    ]


def _unwrapped(annotation: Any) -> Iterator[Any]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _unwrapped(typing.get_args(annotation)[0])
    elif origin is typing.Union or str(origin) == "<class 'types.UnionType'>":
        for argument in typing.get_args(annotation):
            yield from _unwrapped(argument)
    else:
        yield annotation


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    names = ((dict, "a mapping"), (list, "a list"), (int, "a whole number"), (str, "text"))
    return next((words for kind, words in names if isinstance(value, kind)), "empty")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value[:60]}'" if isinstance(value, str) else str(value) if isinstance(value, int) else _kind(value)


def _or(choices: list[str]) -> str:
    return (
        choices[0]
        if len(choices) == 1
        else ", ".join(choices[:-1]) + " or " + choices[-1]
        if choices
        else "another value"
    )
