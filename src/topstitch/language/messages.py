"""Decides how findings are shown: to a person, to a program, to a code host.

The doors call ``as_text`` for a terminal, ``as_json`` for programs, ``as_github`` and
``as_sarif`` for continuous integration. The words themselves come from the checks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from topstitch.language.load import Document
from topstitch.model.finding import Finding, Span

SHOWN_MAX: Final = 3
"""How many findings of a file are shown in full; the rest is counted."""
WIDTH_MAX: Final = 160


def as_text(document: Document, findings: Sequence[Finding], *, every: bool = False) -> str:
    """Return the findings as a person reads them: errors before warnings, at most three in full unless ``every``."""
    ordered = _errors_first(findings)
    shown = ordered if every else ordered[:SHOWN_MAX]
    blocks = ["\n".join(_block(document, finding)) for finding in shown]
    if rest := _counted(ordered[len(shown) :]):
        blocks.append(f"and {rest} more; use --all to see every one")
    return "\n".join(blocks)


def summary(findings: Iterable[Finding]) -> str:
    """Return ``2 errors, 1 warning``, or ``no findings``."""
    return _counted(list(findings)) or "no findings"


def as_json(document: Document, findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return the findings as data."""
    return [
        {
            "file": document.path,
            "line": finding.span.line,
            "column": finding.span.column,
            "end_line": finding.span.end_line,
            "end_column": finding.span.end_column,
            "severity": finding.severity,
            "code": finding.code,
            "message": finding.message,
            "help": finding.help,
            "path": list(finding.path),
        }
        for finding in findings
    ]


def as_github(document: Document, findings: Iterable[Finding]) -> str:
    """Return the findings as annotations of a GitHub workflow."""
    return "\n".join(
        f"::{finding.severity} file={_property(document.path)},line={finding.span.line},col={finding.span.column},"
        f"endLine={finding.span.end_line},title={_property(finding.code)}::{_data(_sentence(finding))}"
        for finding in findings
    )


def as_sarif(documents: Iterable[tuple[Document, Sequence[Finding]]]) -> str:
    """Return the findings of several files as one SARIF 2.1.0 document."""
    pairs = list(documents)
    rules = sorted({finding.code for _, findings in pairs for finding in findings})
    run = {
        "tool": {"driver": {"name": "topstitch", "rules": [{"id": code} for code in rules]}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(document, finding) for document, findings in pairs for finding in findings],
    }
    log = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False)


def _errors_first(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: finding.severity != "error")


def _block(document: Document, finding: Finding) -> list[str]:
    span = finding.span
    lines = [f"{document.path}:{span.line}:{span.column}: {finding.severity}[{finding.code}] {finding.message}"]
    if 0 < span.line <= len(document.lines):
        lines += _excerpt(document.lines[span.line - 1], span)
    if finding.help:
        lines.append(f"{'':6} = {finding.help}")
    return lines


def _excerpt(row: str, span: Span) -> list[str]:
    """Show the line and point at the place; a long line is cut around it."""
    start = span.column - 1
    length = span.end_column - span.column if span.end_line == span.line else len(row.rstrip()) - start
    cut = max(0, start - WIDTH_MAX // 2) if len(row) > WIDTH_MAX else 0
    text = row[cut : cut + WIDTH_MAX]
    start -= cut
    length = max(1, min(length, len(text) - start))
    pad = "".join("\t" if character == "\t" else " " for character in text[:start])
    return [f"{span.line:6} | {text.rstrip()}", f"{'':6} | {pad}{'^' * length}"]


def _counted(findings: Sequence[Finding]) -> str:
    parts = []
    for severity in ("error", "warning"):
        count = sum(finding.severity == severity for finding in findings)
        if count:
            parts.append(f"{count} {severity}{'s' if count > 1 else ''}")
    return ", ".join(parts)


def _sentence(finding: Finding) -> str:
    return f"{finding.message}; {finding.help}" if finding.help else finding.message


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _result(document: Document, finding: Finding) -> dict[str, Any]:
    span = finding.span
    region = {
        "startLine": span.line,
        "startColumn": span.column,
        "endLine": span.end_line,
        "endColumn": span.end_column,
    }
    location = {"physicalLocation": {"artifactLocation": {"uri": document.path}, "region": region}}
    return {
        "ruleId": finding.code,
        "level": finding.severity,
        "message": {"text": _sentence(finding)},
        "locations": [location],
    }
