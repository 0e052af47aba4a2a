"""Decides where a finding stands in the file, and keeps them until ``check`` returns them.

Every family of checks writes into one ``Report``. A path that was reported once as broken
can be asked for, so that nobody reports its consequences.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from topstitch.language.load import Document, Path
from topstitch.model.finding import Finding, Span


class Report:
    """The findings on one document, and which paths are broken."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.findings: list[Finding] = [*document.findings]
        self._broken: set[Path] = {finding.path for finding in document.findings if finding.path}

    def add(
        self,
        code: str,
        path: Path,
        message: str,
        remedy: str | None = None,
        *,
        key: bool = False,
        severity: str = "error",
        span: Span | None = None,
        breaks: Path | None = None,
    ) -> None:
        """Keep a finding on the value at ``path``, or on its key. ``breaks`` is what is broken, if not ``path``."""
        place = span or (self.document.key_span(path) if key else self.document.span(path))
        self.findings.append(Finding(code=code, message=message, span=place, help=remedy, severity=severity, path=path))
        if severity == "error":
            self._broken.add(path if breaks is None else breaks)

    def missing(self, path: Path, field: str, remedy: str | None = None, code: str = "shape") -> None:
        """Keep the finding that the mapping at ``path`` lacks ``field``; it stands where the mapping starts."""
        if self.touched((*path, field)):
            return
        start = self.document.span(path)
        place = Span(start.line, start.column, start.line, start.column + 1)
        first = next((self.document.key_spans.get((*path, key)) for key in self._keys(path)), None)
        self.findings.append(
            Finding(
                code=code,
                message=f"'{field}' is missing",
                span=first or place,
                help=remedy,
                path=(*path, field),
            )
        )

    def break_off(self, path: Path) -> None:
        """Mark ``path`` as broken without a finding of its own."""
        self._broken.add(path)

    def touched(self, path: Path) -> bool:
        """Whether ``path``, or something around it, has been reported."""
        return any(path[:length] in self._broken for length in range(1, len(path) + 1))

    def done(self) -> tuple[Finding, ...]:
        """Return the findings in the order of the file, each once."""
        unique = {(f.span.line, f.span.column, f.code, f.message): f for f in self.findings}
        return tuple(unique[key] for key in sorted(unique))

    def _keys(self, path: Path) -> list[str]:
        value = self.document.at(path)
        return list(value) if isinstance(value, dict) else []


def closest(name: str, names: Iterable[str]) -> str | None:
    """Return the existing name that is probably meant."""
    known = sorted(names)
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.6) or difflib.get_close_matches(
        name.lower(), known, n=1, cutoff=0.6
    )
    return found[0] if found else None


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Say which existing name is meant, or which there are, if they are few."""
    known = sorted(names)
    if meant := closest(name, known):
        return f"did you mean '{meant}'?"
    if not known:
        return None
    return "there is " + ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")


def place_in(document: Document, path: Path, offset: int, length: int) -> Span:
    """Return the place of ``length`` characters at ``offset`` of the text at ``path``.

    Quotes and block texts shift what an author sees; where that cannot be undone exactly,
    the place is the whole value.
    """
    span, value = document.span(path), document.at(path)
    if not isinstance(value, str) or span.line > len(document.lines):
        return span
    if span.line == span.end_line:
        columns = _columns(document.lines[span.line - 1], span.column - 1)
        if offset < len(columns):
            start = columns[offset]
            end = columns[min(offset + max(1, length), len(columns)) - 1] + 1
            return Span(span.line, start + 1, span.line, end + 1)
        end_column = max(span.column + 1, span.end_column - 1)
        return Span(span.line, end_column, span.line, end_column + 1)
    return _block_place(document, span, value, offset, length)


def _block_place(document: Document, span: Span, value: str, offset: int, length: int) -> Span:
    row = value.count("\n", 0, offset)
    opening = document.lines[span.line - 1][span.column - 1 : span.column]
    if opening != "|":
        return Span(span.line, span.column, span.line, len(document.lines[span.line - 1]) + 1)
    line = span.line + 1 + row
    if line > len(document.lines):
        return span
    text = document.lines[line - 1]
    written = value.split("\n")[row]
    indent = text.find(written.strip()) - (len(written) - len(written.lstrip())) if written.strip() else 0
    column = max(0, indent) + offset - (value.rfind("\n", 0, offset) + 1)
    return Span(line, column + 1, line, column + 1 + max(1, length))


def _columns(line: str, start: int) -> list[int]:
    """Return the column of each character of the scalar that starts at ``start``."""
    quote = line[start : start + 1]
    if quote not in ('"', "'"):
        return list(range(start, len(line)))
    columns, position = [], start + 1
    pattern = re.compile(r"\\(?:x..|u....|U........|.)" if quote == '"' else r"''")
    while position < len(line):
        columns.append(position)
        escape = pattern.match(line, position)
        if escape:
            position = escape.end()
        elif line[position] == quote:
            break
        else:
            position += 1
    return columns
