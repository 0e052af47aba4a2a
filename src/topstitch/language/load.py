"""Decides what a definition's text says: plain data, and a place for every key and value.

A strict profile of YAML 1.2: ``true`` and ``false`` are the only truths, whole numbers the
only numbers, everything else is text; no tags, aliases, merge keys, duplicate keys or
second documents. Each trap that authors fall into is named, with its remedy. ``check``
reads the document; nothing here knows what a definition means, except which fields hold
expressions, because YAML cuts those in ways their author cannot see.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from topstitch.model.finding import Finding, Span

Path = tuple[str | int, ...]

LENGTH_MAX: Final = 1_000_000
"""Characters of one definition."""
DEPTH_MAX: Final = 40
"""Levels of nesting."""
INTEGER_MAX: Final = 2**53
"""Whole numbers beyond this do not survive JSON everywhere."""
CONDITION_KEYS: Final = frozenset({"when", "check", "auto_when", "that", "match", "items"})
"""Fields that hold a bare expression."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A definition as read. ``data`` is ``None`` when the text is no YAML at all."""

    path: str
    text: str
    data: Any
    spans: Mapping[Path, Span]
    """The place of each value."""
    key_spans: Mapping[Path, Span]
    """The place of each key, by the path of its value."""
    findings: tuple[Finding, ...]
    lines: tuple[str, ...]

    def span(self, path: Path) -> Span:
        """Return the place of the value at ``path``, or of the nearest thing around it that has one."""
        while path and path not in self.spans:
            path = path[:-1]
        return self.spans.get(path, Span(1, 1, 1, 2))

    def key_span(self, path: Path) -> Span:
        """Return the place of the key whose value is at ``path``."""
        return self.key_spans.get(path) or self.span(path)

    def at(self, path: Path) -> Any:
        """Return the value at ``path``, or ``None``."""
        value = self.data
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value


def load(text: str, path: str) -> Document:
    """Read a definition. Never raises for what an author can write; what is wrong is in ``findings``."""
    text = text.removeprefix("\ufeff")
    lines = tuple(text.replace("\r\n", "\n").split("\n"))
    builder = _Builder(lines)
    data: Any = None
    if len(text) > LENGTH_MAX:
        builder.report(
            "yaml-size", f"the file has more than {LENGTH_MAX} characters", Span(1, 1, 1, 2), "split the process"
        )
    elif (place := _surrogate(text)) is not None:
        builder.report("yaml-character", "half of a character is not allowed", place, "save the file as UTF-8")
    else:
        try:
            data = builder.build(yaml.parse(text, Loader=yaml.CSafeLoader))
        except yaml.MarkedYAMLError as failure:
            builder.findings[:] = [_syntax_finding(failure, lines)]
        except yaml.reader.ReaderError as failure:
            builder.findings[:] = [_character_finding(failure, text)]
        except _GaveUpError:
            data = None
    return Document(
        path=path,
        text=text,
        data=data,
        spans=builder.spans,
        key_spans=builder.key_spans,
        findings=tuple(builder.findings),
        lines=lines,
    )


def _surrogate(text: str) -> Span | None:
    """Return the place of the first half of a surrogate pair: such text is no Unicode."""
    found = re.search("[\ud800-\udfff]", text)
    if found is None:
        return None
    line = text.count("\n", 0, found.start())
    column = found.start() - (text.rfind("\n", 0, found.start()) + 1)
    return Span(line + 1, column + 1, line + 1, column + 2)


class _GaveUpError(Exception):
    """The text is not read any further; the reason is among the findings."""


@dataclass(slots=True)
class _Open:
    """A mapping or sequence that is being read."""

    path: Path
    value: dict[str, Any] | list[Any]
    start: Any
    flow: bool
    key: str | None = None
    pending: bool = False
    keys: set[str] = field(default_factory=set)
    cut: str | None = None
    """The key whose expression was cut at a comma, as long as its rests follow."""


class _Builder:
    """Makes data from parse events without recursion, so that no nesting can exhaust a stack."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        self.lines = lines
        self.spans: dict[Path, Span] = {}
        self.key_spans: dict[Path, Span] = {}
        self.findings: list[Finding] = []
        self.stack: list[_Open] = []
        self.root: Any = None
        self.documents = 0

    def report(
        self, code: str, message: str, span: Span, remedy: str | None, path: Path = (), severity: str = "error"
    ) -> None:
        self.findings.append(Finding(code=code, message=message, span=span, help=remedy, path=path, severity=severity))

    def build(self, events: Iterator[Any]) -> Any:
        """Read all events; return the data of the one document."""
        for event in events:
            match event:
                case yaml.DocumentStartEvent():
                    self._document(event)
                case yaml.AliasEvent():
                    self._alias(event)
                case yaml.ScalarEvent():
                    self._scalar(event)
                case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    self._open(event)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self._close(event)
        if self.documents == 0 or (self.root is None and not self.findings):
            self.report(
                "yaml-empty",
                "the file is empty",
                Span(1, 1, 1, 2),
                "start with 'topstitch init', or with 'workflow: a-name'",
            )
        return self.root

    def _document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            self.report(
                "yaml-document",
                "a second document starts here",
                _span(event),
                "one file holds one workflow: remove '---'",
            )
            raise _GaveUpError

    def _alias(self, event: Any) -> None:
        here = self._place()
        if here is None:  # an alias as a key
            self.report(
                "yaml-alias",
                f"'*{event.anchor}' is an alias; aliases are not allowed",
                _span(event),
                "write the key out",
            )
            raise _GaveUpError
        self.report(
            "yaml-alias",
            f"'*{event.anchor}' is an alias; aliases are not allowed",
            _span(event),
            "write the value out; put text that starts with '*' in quotes",
            here,
        )
        self._put(None, _span(event))

    def _scalar(self, event: Any) -> None:
        if self._wants_key():
            self._key(event)
            return
        path = self._place() or ()
        span = _span(event)
        self._anchors(event, path)
        value = None if event.tag is not None and self._tag(event, path) else self._value(event, path, span)
        if _plain(event) and isinstance(value, str):
            self._comment_after(event, path, span)
        self._put(value, span)

    def _value(self, event: Any, path: Path, span: Span) -> Any:
        if not _plain(event):
            return event.value
        text = event.value
        if self._cut_by_comma(text, path):
            self.report(
                "yaml-flow",
                "inside { } a comma ends the value, so the expression is cut here",
                span,
                "put the expression in quotes, or write the mapping on lines of its own",
                path,
            )
            self.stack[-1].cut = str(path[-1])
            return None
        value, trouble = plain_scalar(text)
        if trouble:
            self.report("yaml-number", trouble[0], span, trouble[1], path)
        return value

    def _cut_by_comma(self, text: str, path: Path) -> bool:
        """Whether a plain text in a flow mapping is an expression that YAML cut at a comma."""
        if not self.stack or not self.stack[-1].flow or not path:
            return False
        expression = text.startswith("= ") or path[-1] in CONDITION_KEYS
        return expression and _open_brackets(text) > 0

    def _key(self, event: Any) -> None:
        top = self.stack[-1]
        key, span = event.value, _span(event)
        path = (*top.path, key)
        self._anchors(event, path)
        if event.tag is not None:
            self._tag(event, path)
        if key == "<<" and _plain(event):
            self.report("yaml-merge", "merge keys are not allowed", span, "write the fields out", path)
        elif key == "" and _plain(event):
            self.report("yaml-key", "a key is missing before ':'", span, "write the field's name", path)
        elif key in top.keys:
            first = self.key_spans.get(path)
            where = f", first in line {first.line}" if first else ""
            self.report("yaml-duplicate", f"'{key}' is given twice{where}", span, "remove one of the two", path)
        else:
            self.key_spans[path] = span
        top.keys.add(key)
        top.key, top.pending = key, True

    def _anchors(self, event: Any, path: Path) -> None:
        if event.anchor is not None:
            self.report(
                "yaml-anchor",
                f"'&{event.anchor}' is an anchor; anchors are not allowed",
                _span(event),
                "remove it; put text that starts with '&' in quotes",
                path,
            )

    def _tag(self, event: Any, path: Path) -> bool:
        written = event.tag.replace("tag:yaml.org,2002:", "!!")
        self.report(
            "yaml-tag", f"'{written}' was read as a YAML tag", _span(event), "put the expression in quotes", path
        )
        return True

    def _comment_after(self, event: Any, path: Path, span: Span) -> None:
        """Warn when an expression is followed by a comment: what follows '#' is not part of it."""
        if not (event.value.startswith("= ") or (path and path[-1] in CONDITION_KEYS)):
            return
        line = self.lines[span.end_line - 1] if span.end_line <= len(self.lines) else ""
        rest = line[span.end_column - 1 :].lstrip()
        if rest.startswith("#"):
            column = line.index("#", span.end_column - 1) + 1
            self.report(
                "yaml-comment",
                "the expression ends before '#'; the rest is a comment",
                Span(span.end_line, column, span.end_line, len(line) + 1),
                "put the expression in quotes if '#' belongs to it, else move the comment to a line of its own",
                path,
                "warning",
            )

    def _open(self, event: Any) -> None:
        if self._wants_key():
            self.report(
                "yaml-key",
                "a key must be plain text",
                _span(event),
                "put an expression that starts with '{' or '[' in quotes",
            )
            raise _GaveUpError
        path = self._place() or ()
        self._anchors(event, path)
        if event.tag is not None:
            self._tag(event, path)
        if len(self.stack) >= DEPTH_MAX:
            self.report(
                "yaml-depth", f"more than {DEPTH_MAX} levels of nesting", _span(event), "write it flatter", path
            )
            raise _GaveUpError
        value: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.stack.append(_Open(path=path, value=value, start=event.start_mark, flow=bool(event.flow_style)))

    def _close(self, event: Any) -> None:
        done = self.stack.pop()
        end = event.end_mark
        self._put(done.value, Span(done.start.line + 1, done.start.column + 1, end.line + 1, end.column + 1), done.path)

    def _wants_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].value, dict) and not self.stack[-1].pending

    def _place(self) -> Path | None:
        """Return the path of the value that comes next."""
        if not self.stack:
            return ()
        top = self.stack[-1]
        if isinstance(top.value, list):
            return (*top.path, len(top.value))
        return (*top.path, top.key) if top.pending and top.key is not None else None

    def _put(self, value: Any, span: Span, path: Path | None = None) -> None:
        place = path if path is not None else self._place() or ()
        self.spans[place] = span
        if not self.stack:
            self.root = value
            return
        top = self.stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
            return
        key, top.pending = str(top.key), False
        if top.cut is not None and key != top.cut and value is None and top.flow:
            return  # the rest of an expression that was cut at a comma: said already
        if key != "<<" and key not in top.value:
            top.value[key] = value


def _plain(event: Any) -> bool:
    return not event.style


def _span(event: Any) -> Span:
    start, end = event.start_mark, event.end_mark
    return Span(start.line + 1, start.column + 1, end.line + 1, end.column + 1)


_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_LEADING_ZERO: Final = re.compile(r"[-+]?0[0-9]+")
_OTHER_BASE: Final = re.compile(r"[-+]?0[xob][0-9a-fA-F_]+")


def plain_scalar(text: str) -> tuple[Any, tuple[str, str] | None]:
    """Return the value of an unquoted scalar, and what is wrong with it, if anything.

    Numbers with a point stay text: versions and money must never become binary fractions.
    """
    if text in ("", "~", "null"):
        return None, None
    if text in ("true", "false"):
        return text == "true", None
    if _INTEGER.fullmatch(text):
        if len(text) > 17 or abs(int(text)) > INTEGER_MAX:
            return text, (f"{text[:40]} is too large for a whole number", "put it in quotes if it is an identifier")
        return int(text), None
    if _LEADING_ZERO.fullmatch(text):
        return text, (
            f"{text[:40]} starts with a zero",
            "put it in quotes if the zero matters, else leave the zero out",
        )
    if _OTHER_BASE.fullmatch(text):
        return text, (
            f"{text[:40]} is not a decimal number",
            "put it in quotes if it is text, else write it in decimal",
        )
    return text, None


def _open_brackets(text: str) -> int:
    """Return how many brackets and quotes of an expression are open at its end."""
    depth, quote = 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        else:
            depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(character, 0)
    return depth + bool(quote)


_EXPRESSION_LINE: Final = re.compile(r"[:\[{,]\s*=\s|\b(when|that|check|auto_when|match|items):|^\s*-?\s*= | \? ")
_QUOTE: Final = (
    'an expression that contains ": " or " #", or starts with a quote, "!", "{", "[", "*" or "&", must be put in quotes'
)


def _syntax_finding(failure: yaml.MarkedYAMLError, lines: tuple[str, ...]) -> Finding:
    mark = failure.problem_mark or failure.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    if (
        failure.context_mark
        and "flow" in str(failure.context or "")
        and "','" in str(failure.problem or "")
        and _never_closed(lines, failure.context_mark.line, failure.context_mark.column, line)
    ):
        opened = failure.context_mark
        place = Span(opened.line + 1, opened.column + 1, opened.line + 1, opened.column + 2)
        return Finding(
            code="yaml", message="this bracket is never closed", span=place, help="close it, or put the text in quotes"
        )
    if (odd := _odd_space(lines, line)) is not None:
        return Finding(
            code="yaml-character",
            message="a no-break space stands where YAML wants a space",
            span=odd,
            help="type an ordinary space; this one often comes along when text is copied",
        )
    row = lines[line] if line < len(lines) else ""
    problem = str(failure.problem or failure.context or "this is not YAML")
    code, message, remedy = _named(problem, row, column, lines, line)
    return Finding(code=code, message=message, span=Span(line + 1, column + 1, line + 1, column + 2), help=remedy)


def _never_closed(lines: tuple[str, ...], first: int, column: int, last: int) -> bool:
    """Whether the bracket that opens at a place is still open where its line ends, or where the text does."""
    return last >= len(lines) - 1 or (last > first and _open_brackets(lines[first][column:].partition(" #")[0]) > 0)


def _odd_space(lines: tuple[str, ...], line: int) -> Span | None:
    """Return the place of a space that is none to YAML, after a key or before one, on this line or the one before."""
    for number in range(min(line, len(lines) - 1), max(-1, line - 2), -1):
        found = re.search(r"^\s*[\u00a0\u2007\u202f]|:[\u00a0\u2007\u202f]|^\s*-[\u00a0\u2007\u202f]", lines[number])
        if found:
            return Span(number + 1, found.end(), number + 1, found.end() + 1)
    return None


def _named(problem: str, row: str, column: int, lines: tuple[str, ...], line: int) -> tuple[str, str, str | None]:
    if "\t" in row[: column + 1] and ("token" in problem or "indent" in problem):
        return "yaml-tab", "a tab stands where YAML wants spaces", "indent with spaces"
    if _EXPRESSION_LINE.search(row):
        if "mapping values" in problem:
            return "yaml", "the expression is cut at ': '", _QUOTE
        return "yaml", "the expression cannot be read as a YAML value", _QUOTE
    if "unexpected end" in problem or "found end of stream" in problem or "<stream end>" in problem:
        return "yaml", "the file ends inside a quoted text or a bracket", "close it"
    if "mapping values" in problem:
        return (
            "yaml",
            "a second ': ' stands in this line, or the line is indented wrongly",
            "put text that contains ': ' in quotes",
        )
    if "undefined alias" in problem:
        return "yaml-alias", "aliases are not allowed", "write the value out"
    if "cannot start any token" in problem:
        return "yaml", f"{row[column : column + 1]!r} cannot start a value", "put the text in quotes"
    if "did not find expected" in problem or "expected <block end>" in problem or "could not find expected" in problem:
        before = lines[line - 1].strip() if line else ""
        hint = "check the indentation of this line and the one before it" if before else "check the indentation"
        return "yaml", "the structure breaks here", hint + "; close quotes and brackets"
    return "yaml", problem, "correct the YAML"


def _character_finding(failure: yaml.reader.ReaderError, text: str) -> Finding:
    position = max(0, min(int(failure.position or 0), len(text)))
    line = text.count("\n", 0, position)
    column = position - (text.rfind("\n", 0, position) + 1)
    return Finding(
        code="yaml-character",
        message=f"the character U+{int(failure.character):04X} is not allowed"
        if isinstance(failure.character, int)
        else "a character is not allowed",
        span=Span(line + 1, column + 1, line + 1, column + 2),
        help="remove it",
    )
