"""Decides how a command's data are written for a program: JSON, JSON lines, CSV or YAML.

A list is an object with ``items``: JSON lines and CSV have one line for each, and one line for anything else. What
does not fit into a cell of CSV stands there as JSON. What a jq filter makes of the data is a line each, a text as it
is, as ``jq -r`` and other programs' ``--jq`` print it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from topstitch.foundation.canonical import canonical_bytes, parse
from topstitch.foundation.errors import RequestError

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
            return _yaml(parse(canonical_bytes(document)))
        case _:
            return f"{_json(document)}\n"


def sifted(document: Any, sieve: Any, form: str) -> Iterator[str]:
    """Yield what a compiled jq filter makes of data; as rows of one sheet, or as documents, where that is asked for."""
    found = _passing(document, sieve)
    match form:
        case "csv":
            yield _sheet([row for each in found for row in _rows(each)])
        case "yaml":
            yield from map(_yaml, found)
        case _:
            yield from (f"{each if isinstance(each, str) else _as_jq(each)}\n" for each in found)


def _passing(document: Any, sieve: Any) -> Iterator[Any]:
    try:
        yield from sieve.input_text(orjson.dumps(document).decode())  # unsorted: a row's columns keep their order
    except ValueError as error:
        message = f"--jq does not fit these data: {error}; look at them with --json, then correct it"
        raise RequestError("filter-unfit", message) from None


def _as_jq(value: Any) -> str:
    """Return a value as JSON in the order that the filter gave it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _yaml(value: Any) -> str:
    import yaml

    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, explicit_start=True))


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
