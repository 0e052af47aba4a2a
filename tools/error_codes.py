"""Reads every error code and every finding's code, with its words, out of the source.

``tools/reference_pages.py`` writes the pages of codes from it, and the house tests ask it whether a code is documented.
A code is found where an error is made with a literal one, where a function that hands its ``code`` on to an error is
called with one, and where a table holds one beside its message. It imports the errors, and nothing else of the product.
"""

from __future__ import annotations

import ast
import functools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).parents[1] / "src" / "topstitch"
CODE: Final = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
ROOT_ERROR: Final = "TopstitchError"
NO_PRODUCT: Final = ("simulators", "torture", "drill", "bench", "examples")
"""Rooms beside the house: what their own errors say is for those who work on the house."""
FINDING_CALLS: Final = frozenset({"add", "report", "finding", "Finding", "missing", "_finding"})
VARIES: Final = "…"
WORDY: Final = frozenset({"ExpressionError"})
"""Errors whose code is fixed; what they are made with is a sentence."""
FINDING_ROOMS: Final = ("language", "verifier", "governance/bundle_files.py")
BESIDE: Final = {
    "policy-demand": "what the rule demands cannot be read; the finding says what is meant",
    "policy-when": "the condition of the rule cannot be worked out; the finding shows where",
    "shape": "the file does not have the shape of a definition: a key is unknown, missing, or of a wrong kind",
    "unknown-connector": "the system's connector is not installed, or not in this major version; the nearest is named",
    "yaml": "the file is not the YAML that is read here",
    "yaml-number": "YAML would read this as another number than the one that is written; put it in quotes",
}
"""Findings whose words come from a library, or from where they are made."""
ERRORS_BESIDE: Final = {
    "bad-duration": "this is no duration; write a whole number and s, m, h or d",
    "nothing-to-repair": "no action may repair this difference, or it is gone; do what the message says",
    "webhook-private": "this installation may not call the webhook's address; see the setting webhook_networks",
    "batch-too-large": "the batch holds too many events; send fewer at once",
    "event-invalid": "the event lacks a field or has a wrong one; each is named under errors",
    "event-unfit": "the definition cannot read the event; correct the sender, or the definition",
    "event-unknown": "there is no event of this type; see which types are accepted",
    "event_unknown": "the connection's system sends no such event; correct the type, or the connection",
    "json-invalid": "the body is no JSON; send one JSON document",
    "media-type": "the content type is not read here; send application/cloudevents+json or application/json",
    "params_invalid": "an action cannot take the params it is given; correct the step's with:",
    "chain-broken": "a record is not what was written; run `topstitch audit verify` and compare with a backup",
}
"""Errors whose words are put together where they are made."""


@dataclass(frozen=True, slots=True)
class Said:
    """One place that says a code: who must act, and the words."""

    kind: str
    words: str
    place: str


Codes = Mapping[str, tuple[Said, ...]]
Scope = Mapping[str, str]
"""What local names stand for, where they hold a text."""
NO_SCOPE: Final[Scope] = {}
Functions = tuple[ast.FunctionDef | ast.AsyncFunctionDef, ...]


@functools.cache
def error_codes(source: Path = SOURCE) -> Codes:
    """Return every code that an error carries."""
    modules = dict(_modules(source))
    kinds = error_kinds(modules.values())
    found: dict[str, set[Said]] = defaultdict(set)
    own = {path: _handing_on(tree, kinds) for path, tree in modules.items()}
    shared = {name: helper for each in own.values() for name, helper in each.items() if not name.startswith("_")}
    for path, tree in modules.items():
        place = path.relative_to(source).as_posix()
        handed = {**shared, **own[path]}
        made = [(call, around) for call, around in _calls(tree) if _name(call.func) in {*kinds, *handed, "__init__"}]
        for call, around in made:
            for code, said in _of_call(call, {**_constants(source), **_assigned(around)}, kinds, handed, place):
                found[code].add(said)
        for code, said in _tables(tree, [call for call, _ in made], kinds, place):
            found[code].add(said)
    return {code: _worded(code, said, ERRORS_BESIDE) for code, said in sorted(found.items())}


@functools.cache
def finding_codes(source: Path = SOURCE) -> Codes:
    """Return every code of a remark on a definition or a policy."""
    found: dict[str, set[Said]] = defaultdict(set)
    for path, tree in _modules(source):
        place = path.relative_to(source).as_posix()
        if not place.startswith(FINDING_ROOMS):
            continue
        for call, around in _calls(tree):
            if _name(call.func) in FINDING_CALLS:
                for code in _literals(_argument(call, "code", 0)):
                    found[code].add(Said("finding", _finding_words(call, _assigned(around)), place))
    return {code: _worded(code, said, BESIDE) for code, said in sorted(found.items())}


def _worded(code: str, said: Iterable[Said], beside: Mapping[str, str]) -> tuple[Said, ...]:
    """Return what is said, with words for what has none in the source."""
    found = {one if tells(one.words) else replace(one, words=beside.get(code, one.words)) for one in said}
    telling = {one for one in found if tells(one.words)} or found
    return tuple(sorted(telling, key=lambda one: (one.kind, one.words)))


def tells(words: str) -> bool:
    """Whether words say something beside what varies."""
    return bool(re.search(r"\w \w", re.sub("{[^}]*}", "x", words)))


def error_kinds(trees: Iterable[ast.Module]) -> Mapping[str, str]:
    """Return each error class and the one above it, as the source declares them."""
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    kinds = {ROOT_ERROR: ""}
    while True:
        more = {
            node.name: _name(base)
            for node in classes
            for base in node.bases
            if node.name not in kinds and _name(base) in kinds
        }
        if not more:
            return kinds
        kinds |= more


def trees(source: Path = SOURCE) -> tuple[ast.Module, ...]:
    """Return every module of the product, parsed."""
    return tuple(tree for _, tree in _modules(source))


@functools.cache
def _modules(source: Path) -> tuple[tuple[Path, ast.Module], ...]:
    paths = [path for path in sorted(source.rglob("*.py")) if path.relative_to(source).parts[0] not in NO_PRODUCT]
    return tuple((path, ast.parse(path.read_text(encoding="utf-8"))) for path in paths)


@functools.cache
def _constants(source: Path) -> Scope:
    """Return the texts that constants of any module stand for."""
    found = {}
    for tree in trees(source):
        for node in tree.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                text = _text(node.value)
                if node.target.id.isupper() and " " in text:
                    found[node.target.id] = text
    return found


def _calls(tree: ast.AST) -> Iterator[tuple[ast.Call, Functions]]:
    """Yield every call with the functions around it."""
    waiting: list[tuple[ast.AST, Functions]] = [(tree, ())]
    while waiting:
        node, around = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            around = (*around, node)
        elif isinstance(node, ast.Call):
            yield node, around
        waiting += [(child, around) for child in ast.iter_child_nodes(node)]


def _assigned(functions: Functions) -> Scope:
    """Return the texts that the names in these functions stand for."""
    return {name: text for function in functions for name, text in _assigned_in(function).items()}


@functools.cache
def _assigned_in(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Scope:
    found: dict[str, list[str]] = defaultdict(list)
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            text = _text(node.value)
            if " " in text and text not in found[node.targets[0].id]:
                found[node.targets[0].id].append(text)
    return {name: " / ".join(texts) for name, texts in found.items() if texts}


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _argument(call: ast.Call, name: str, position: int) -> ast.expr | None:
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    return call.args[position] if len(call.args) > position else None


def _literals(node: ast.expr | None) -> tuple[str, ...]:
    """Return the codes that an expression can be."""
    match node:
        case ast.Constant(value=str(text)) if CODE.fullmatch(text):
            return (text,)
        case ast.IfExp(body=body, orelse=orelse):
            return (*_literals(body), *_literals(orelse))
        case _:
            return ()


@dataclass(frozen=True, slots=True)
class _Helper:
    """A function that hands its ``code`` on to an error."""

    kind: str
    position: int


def _handing_on(tree: ast.Module, kinds: Mapping[str, str]) -> Mapping[str, _Helper]:
    """Return the functions of a module that make an error of a parameter called ``code``."""
    found = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        names = [argument.arg for argument in node.args.args if argument.arg not in ("self", "cls")]
        if "code" not in names:
            continue
        inner = (call for call in ast.walk(node) if isinstance(call, ast.Call))
        kind = next((_name(call.func) for call in inner if _name(call.func) in kinds), None)
        if kind and kind not in WORDY:
            found[node.name] = _Helper(kind, names.index("code"))
    return found


def _of_call(
    call: ast.Call, scope: Scope, kinds: Mapping[str, str], handed: Mapping[str, _Helper], place: str
) -> Iterator[tuple[str, Said]]:
    name = _name(call.func)
    if name in kinds and name not in WORDY:
        for code in _literals(_argument(call, "code", 0)):
            yield code, Said(name, _text(_argument(call, "message", 1), scope), place)
    elif name == "__init__" and (fixed := _literals(_argument(call, "code", 0))):
        yield fixed[0], Said(ROOT_ERROR, _text(_argument(call, "message", 1), scope), place)
    elif name in handed:
        for code in _literals(_argument(call, "code", handed[name].position)):
            yield code, Said(handed[name].kind, _words(call.args[handed[name].position + 1 :], scope), place)


def _tables(
    tree: ast.Module, calls: Iterable[ast.Call], kinds: Mapping[str, str], place: str
) -> Iterator[tuple[str, Said]]:
    """Yield the codes that stand in a tuple beside their message, where an error is made of a name."""
    made = [call for call in calls if _name(call.func) in kinds and _name(call.func) not in WORDY]
    made = [call for call in made if isinstance(_argument(call, "code", 0), ast.Name)]
    if not made:
        return
    kind = _name(made[0].func)
    for node in ast.walk(tree):
        if isinstance(node, ast.Tuple):
            for before, after in zip(node.elts, node.elts[1:], strict=False):
                words = _text(after)
                if _literals(before) and " " in words:
                    rest = node.elts[node.elts.index(before) + 1 :]
                    yield _literals(before)[0], Said(kind, _words(rest), place)


def _finding_words(call: ast.Call, scope: Scope) -> str:
    if _name(call.func) == "missing":
        return "something that has to be there is missing"
    given = (*call.args, *(k.value for k in call.keywords if k.arg in ("message", "help")))
    return "; ".join(text for node in given if " " in (text := _text(node, scope)))


def _words(nodes: Iterable[ast.expr], scope: Scope = NO_SCOPE) -> str:
    return "; ".join(text for node in nodes if (text := _text(node, scope)) not in ("", VARIES))


def _text(node: ast.expr | None, scope: Scope = NO_SCOPE) -> str:
    """Return a message as it is written, with what varies in braces."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_text(value, scope) for value in values)
        case ast.FormattedValue(value=value):
            return "{" + _varying(value) + "}"
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left, scope) + _text(right, scope)
        case ast.IfExp(body=body, orelse=orelse):
            return f"{_text(body, scope)} / {_text(orelse, scope)}"
        case ast.Name(id=name) if name in scope:
            return scope[name]
        case _:
            return VARIES if node is not None else ""


def _varying(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.strip("_").replace("_", " ").lower()
        case _:
            return VARIES
