"""Decides whether a definition carries a credential, or asks for one to be carried.

What stands in a payload ends in the journal, in logs and in a mailbox, so values shaped
like credentials are errors and fields named like them are warnings. Called by ``check``
with the whole document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from topstitch.language.load import Path
from topstitch.language.report import Report

_VALUES: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\bAKIA[0-9A-Z]{16}\b"
    r"|\bxox[abprs]-[0-9A-Za-z-]{10,}"
    r"|\bgh[pousr]_[0-9A-Za-z]{30,}"
    r"|\bwhsec_[0-9A-Za-z+/=]{16,}"
    r"|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}"
    r"|\b(?:Bearer|Basic)\s+[A-Za-z0-9+/._=-]{16,}"
    r"|://[^/\s:@${}]+:[^/\s:@${}]+@"
    r"|(?i:\b(?:password|passwd|secret|api[_-]?key|token)\s*[:=]\s*[^\s${}=]{6,})"
)
_NAMES: Final = re.compile(
    r"(?i)(^|_)(password|passwd|pwd|secret|token|api_?key|credentials?|private_key|passphrase)(_|$)"
)
_PAYLOADS: Final = frozenset({"with", "heal_with"})


def check_leaks(report: Report) -> None:
    """Report every value and every payload field that looks like a credential."""
    for path, value in _texts((), report.document.data):
        if _VALUES.search(value) and not report.touched(path):
            report.add(
                "secret",
                path,
                "this looks like a credential; it would be written to the journal",
                "let the connection hold it: connections.toml takes env:NAME or file:PATH",
            )
    for path in report.document.key_spans:
        name = path[-1]
        inside = any(part in _PAYLOADS for part in path[:-1])
        if not (inside and isinstance(name, str) and _NAMES.search(name)) or report.touched(path):
            continue
        given = report.document.at(path)
        written = type(given) is int or (type(given) is str and not given.startswith("= ") and "${" not in given)
        report.add(
            "secret",
            path,
            f"'{name}' holds a credential; it would be written to the journal"
            if written
            else f"'{name}' is named like a credential; what it holds is written to the journal",
            "send a one-time link, or let the connection hold it",
            key=True,
            severity="error" if written else "warning",
        )


def _texts(path: Path, value: Any) -> Iterator[tuple[Path, str]]:
    """Yield every text of a document; its depth is bounded by the loader."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts((*path, key), item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts((*path, index), item)
