"""Decides what an expression and a payload template are worth, given the facts.

The port over CEL. ``plan`` compiles with ``runtime_expression`` and ``compile_template``,
the stages evaluate against one ``Facts`` per decision, governance does the same for its
policies. Results are plain JSON values with sorted keys. Nothing here touches the world,
and no error ever repeats what the facts hold.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from topstitch.foundation.money import NO_RATES
from topstitch.foundation.timetext import rfc3339
from topstitch.language.cel import ExpressionError, Type, compile_source, environment, explain
from topstitch.language.cel_ast import Syntax
from topstitch.language.functions import MONEY_FUNCTIONS, RATES

__all__ = ["ABSENT", "Expression", "ExpressionError", "Facts", "Template", "compile_template", "runtime_expression"]

_MAP: Final = Type.Map(Type.STRING, Type.DYN)
SCOPE: Final[Mapping[str, Type]] = {
    **dict.fromkeys(("trigger", "context", "steps", "step", "flags", "process", "difference", "actor", "row"), _MAP),
    **dict.fromkeys(("found", "item", "event", "env", "calendar", "decided_by"), Type.DYN),
}
"""Every name an expression may use somewhere; which of them a field has is checked before anything runs."""
TEXT_LENGTH_MAX: Final = 1_000_000
"""Characters of one rendered text."""


class _Absent:
    """The value of an optional that holds nothing."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


class Facts:
    """What expressions read: one activation, shared by as many evaluations as you like.

    ``values`` maps scope names to JSON-shaped dicts and lists, which must not change while
    the facts are in use. ``rates`` maps ``EUR/USD`` to how many USD one EUR is worth.
    """

    __slots__ = ("_activation", "rates", "values")

    def __init__(self, values: Mapping[str, Any], rates: Mapping[str, str] = NO_RATES) -> None:
        self.values = values if type(values) is dict else dict(values)
        self.rates = rates
        self._activation: Any = None

    @property
    def activation(self) -> Any:
        """The facts as the runtime reads them, made when the first expression asks."""
        if self._activation is None:
            self._activation = _RUNTIME.Activation(self.values)
        return self._activation


class Expression:
    """A compiled expression. Immutable; safe to share between threads."""

    __slots__ = ("_asks_money", "_program", "_short", "_unwraps", "paths", "roots", "source", "syntax", "type")

    source: str
    type: str
    paths: frozenset[str]
    roots: frozenset[str]
    """The scope names it reads: facts need hold no others."""
    syntax: Syntax

    def __init__(self, source: str) -> None:
        self.source = source
        self._program, self.syntax = compile_source(_RUNTIME, source)
        self.type = self._program.return_type().name()
        self.paths = self.syntax.paths
        self.roots = _roots(self.paths)
        self._unwraps = self.type.startswith("optional")
        if self._unwraps:  # the runtime cannot hand an optional out: carry it in a list of none or one
            self._program = _RUNTIME.compile(f"[?({source}\n)]")
        self._asks_money = any(name in MONEY_FUNCTIONS for name, _ in self.syntax.calls)
        self._short = _shortcut(source, self.syntax)

    def __repr__(self) -> str:
        return f"Expression({self.source!r})"

    def evaluate(self, facts: Facts) -> Any:
        """Return the value; an optional that holds nothing gives ``None``."""
        value = self.evaluate_or_absent(facts)
        return None if value is ABSENT else value

    def evaluate_or_absent(self, facts: Facts) -> Any:
        """Return the value, or ``ABSENT`` for an optional that holds nothing."""
        if self._asks_money and facts.rates:
            token = RATES.set(facts.rates)
            try:
                return self._evaluate(facts)
            finally:
                RATES.reset(token)
        return self._evaluate(facts)

    def holds(self, facts: Facts) -> bool:
        """Return the value of a condition; raise when it is neither true nor false."""
        value = self.evaluate_or_absent(facts)
        if value is True or value is False:
            return value
        raise ExpressionError(
            f"'{self.source}' is neither true nor false", source=self.source, remedy="write a comparison"
        )

    def _evaluate(self, facts: Facts) -> Any:
        if self._short is not None:
            found = self._short(facts.values)
            if found is not ABSENT:
                return found
        try:
            value = self._program.eval(facts.activation)
            plain: Any = value.plain_value()
        except (RuntimeError, TypeError, OverflowError, UnicodeError) as failure:
            raise explain(self.source, str(failure)) from None
        kind = type(plain)
        if kind is bool or kind is int or plain is None:
            return plain
        if kind is str:
            if value.type() == _ERROR:
                raise explain(self.source, plain)
            return plain
        try:
            if self._unwraps:
                return self._json(plain[0]) if plain else ABSENT
            return self._json(plain)
        except RecursionError:
            raise explain(self.source, "recursion") from None

    def _json(self, value: Any) -> Any:
        kind = type(value)
        if kind is str or kind is bool or kind is int or value is None:
            return value
        if kind is list:
            return [self._json(item) for item in value]
        if kind is dict:
            if not all(type(key) is str for key in value):
                raise ExpressionError(
                    f"'{self.source}' gives a map whose keys are not text",
                    source=self.source,
                    remedy="use text as keys",
                )
            return {key: self._json(value[key]) for key in sorted(value)}
        if kind is float and math.isfinite(value):
            return value
        if kind is datetime:
            return rfc3339(value)
        raise ExpressionError(
            f"'{self.source}' gives a value that JSON cannot hold",
            source=self.source,
            remedy="convert it with string(...)",
        )


_PLAIN_PATH: Final = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+", re.ASCII)
_PLAIN_TEST: Final = re.compile(r"([A-Za-z_][\w.]*) (==|!=) (?:\"([ !#-\[\]-~]*)\"|'([ -&(-\[\]-~]*)')", re.ASCII)
_INTEGER_BOUND: Final = 2**63


def _shortcut(source: str, syntax: Syntax) -> Callable[[dict[str, Any]], Any] | None:
    """Return how to evaluate what most expressions are, a path or its comparison with a text, without the runtime.

    It gives ``ABSENT`` where it cannot be sure to give what the runtime would; then that is asked.
    """
    source = source.strip()
    if len(syntax.reads) != 1 or syntax.reads[0].optional_from is not None or syntax.reads[0].tested:
        return None
    path = syntax.reads[0].path
    written = ".".join(path)
    if _PLAIN_PATH.fullmatch(source) and source == written and not syntax.calls:
        return lambda values: _plain_at(values, path)
    test = _PLAIN_TEST.fullmatch(source)
    if test is None or test[1] != written or len(path) < 2:
        return None
    wanted = test[3] if test[3] is not None else test[4]
    equal = test[2] == "=="

    def compare(values: dict[str, Any]) -> Any:
        found = _plain_at(values, path)
        return ABSENT if type(found) is not str else (found == wanted) is equal

    return compare


def _plain_at(values: dict[str, Any], path: tuple[str, ...]) -> Any:
    """Return the text, truth or whole number at a path; ``ABSENT`` for all else."""
    value: Any = values
    for part in path:
        if type(value) is not dict or part not in value:
            return ABSENT
        value = value[part]
    kind = type(value)
    if (kind is str and value.isascii()) or kind is bool:
        return value
    return value if kind is int and -_INTEGER_BOUND <= value < _INTEGER_BOUND else ABSENT


@lru_cache(maxsize=16_384)
def runtime_expression(source: str) -> Expression:
    """Return the compiled expression for the run-time environment; raise ``ExpressionError`` if it is none."""
    return Expression(source)


class Part:
    """A piece of a payload text: literal, or an expression with its place in the text."""

    __slots__ = ("offset", "source", "text")

    def __init__(self, *, text: str | None = None, source: str | None = None, offset: int = 0) -> None:
        self.text, self.source, self.offset = text, source, offset


def parse_text(text: str) -> Part | list[Part]:
    """Read a payload text by the rules of templates.

    A ``Part`` alone is a typed expression or a literal; a list is text with ``${...}``.
    """
    if text.startswith("= ") or text == "=":
        source = text[1:].lstrip()
        return Part(source=source, offset=len(text) - len(source))
    base = 1 if text.startswith("==") else 0
    if "${" not in text:
        return Part(text=text[base:])
    parts = _interpolations(text, base)
    if len(parts) == 1 and parts[0].text is not None:
        return parts[0]
    return parts


def _interpolations(text: str, start: int) -> list[Part]:
    parts: list[Part] = []
    literal, position = "", start
    for mark in re.finditer(r"\$\$\{|\$\{", text):
        if mark.start() < position:
            continue
        literal += text[position : mark.start()]
        if mark[0] == "$${":
            literal, position = literal + "${", mark.end()
            continue
        end = _closing(text, mark.end())
        if literal:
            parts.append(Part(text=literal))
        parts.append(Part(source=text[mark.end() : end], offset=mark.end()))
        literal, position = "", end + 1
    literal += text[position:]
    return [*parts, Part(text=literal)] if literal or not parts else parts


def _closing(text: str, start: int) -> int:
    """Return where the brace closes that was opened before ``start``; quotes and inner braces are skipped."""
    depth, quote, position = 0, "", start
    while position < len(text):
        character = text[position]
        if quote:
            if character == "\\":
                position += 1
            elif character == quote:
                quote = ""
        elif character in "\"'":
            quote = character
        elif character == "{":
            depth += 1
        elif character == "}":
            if depth == 0:
                return position
            depth -= 1
        position += 1
    raise ExpressionError(
        "'${' is never closed",
        source=text,
        column=max(1, start - 1),
        length=2,
        remedy="close it with '}', or write '$${' for the characters themselves",
    )


Render = Callable[[Facts], Any]


class Template:
    """A payload compiled: literals, typed expressions and texts with expressions in them."""

    __slots__ = ("_render", "expressions", "paths", "roots", "value")

    value: Any
    expressions: tuple[Expression, ...]
    paths: frozenset[str]
    roots: frozenset[str]

    def __init__(self, value: Any) -> None:
        found: list[Expression] = []
        self.value = value
        self._render = _renderer(value, found)
        self.expressions = tuple(found)
        self.paths = frozenset().union(*(expression.paths for expression in found))
        self.roots = _roots(self.paths)

    def render(self, facts: Facts) -> Any:
        """Return the payload; a field whose value is an absent optional is left out."""
        value = self._render(facts)
        return None if value is ABSENT else value


def _roots(paths: frozenset[str]) -> frozenset[str]:
    return frozenset(path.partition(".")[0] for path in paths)


def compile_template(value: Any) -> Template:
    """Compile a payload; raise ``ExpressionError`` for an expression that is none."""
    return Template(value)


def _renderer(value: Any, found: list[Expression]) -> Render:
    if type(value) is dict:
        return _map_renderer(value, found)
    if type(value) is list:
        return _list_renderer(value, found)
    if type(value) is not str:
        return _constant(value)
    parsed = parse_text(value)
    if isinstance(parsed, list):
        return _text_renderer(parsed, found)
    if parsed.source is None:
        return _constant(parsed.text)
    expression = runtime_expression(parsed.source)
    found.append(expression)
    return expression.evaluate_or_absent


def _constant(value: Any) -> Render:
    def render(_: Facts) -> Any:
        return value

    return render


def _map_renderer(value: dict[str, Any], found: list[Expression]) -> Render:
    fields = [(key, _renderer(value[key], found)) for key in sorted(value)]

    def render(facts: Facts) -> Any:
        rendered = {}
        for key, field in fields:
            item = field(facts)
            if item is not ABSENT:
                rendered[key] = item
        return rendered

    return render


def _list_renderer(value: list[Any], found: list[Expression]) -> Render:
    items = [_renderer(item, found) for item in value]

    def render(facts: Facts) -> Any:
        return [rendered for item in items if (rendered := item(facts)) is not ABSENT]

    return render


def _text_renderer(parts: list[Part], found: list[Expression]) -> Render:
    pieces: list[str | Expression] = []
    for part in parts:
        if part.source is None:
            pieces.append(part.text or "")
        else:
            pieces.append(runtime_expression(part.source))
    found.extend(piece for piece in pieces if isinstance(piece, Expression))

    def render(facts: Facts) -> Any:
        text = "".join([piece if type(piece) is str else _as_text(piece, facts) for piece in pieces])
        if len(text) > TEXT_LENGTH_MAX:
            raise ExpressionError(f"a text has more than {TEXT_LENGTH_MAX} characters", remedy="build less text")
        return text

    return render


def _as_text(expression: Any, facts: Facts) -> str:
    value = expression.evaluate_or_absent(facts)
    if type(value) is str:
        return value
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) in (int, float):
        return str(value)
    state = "has no value" if value is ABSENT or value is None else "is a list or a record"
    raise ExpressionError(
        f"'{expression.source}' {state} and cannot stand in a text",
        source=expression.source,
        remedy="give it a text with orValue(...) or join(...)",
    )


_ERROR: Final = Type.ERROR
_RUNTIME: Final = environment(SCOPE)
