"""Decides how a command's data are written for a program: JSON, JSON lines, CSV or YAML.

A list is an object with ``items``: JSON lines and CSV have one line for each, and one line for anything else. What
does not fit into a cell of CSV stands there as JSON.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

from topstitch.foundation.canonical import canonical_bytes, parse

RISKY: Final = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet would carry out."""


def written(document: Any, form: str) -> str:
    """Return data as text in one of the forms, with the end of its last line."""
    match form:
        case "jsonl":
            return "".join(f"{_json(row)}\n" for row in _rows(document))
        case "csv":
            return _sheet(_rows(document))
        case "yaml":
            import yaml

            plain = parse(canonical_bytes(document))
            return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, explicit_start=True))
        case _:
            return f"{_json(document)}\n"


def _rows(document: Any) -> Sequence[Any]:
    if isinstance(document, Mapping) and isinstance(document.get("items"), Sequence):
        rows: Sequence[Any] = document["items"]
        return rows
    return document if isinstance(document, list) else [document]


def _sheet(rows: Sequence[Any]) -> str:
    named = [row if isinstance(row, Mapping) else {"value": row} for row in rows]
    columns = list(dict.fromkeys(name for row in named for name in row))
    text = io.StringIO()
    if columns:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(row.get(name)) for name in columns] for row in named)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return _json(value)
    return f"'{value}" if value.startswith(RISKY) else value


def _json(value: Any) -> str:
    return canonical_bytes(value).decode()
