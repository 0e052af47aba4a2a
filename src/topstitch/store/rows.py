"""Decides how rows of the tables read outside this room: times as times, JSON as values.

The files of the nouns select with SQLAlchemy Core and pass their rows through ``shown``.
A row is a plain mapping under the column names of ``tables``. It holds no query.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson
from sqlalchemy import RowMapping

from topstitch.store.sealing import moment

Shown = Mapping[str, Any]

_TIMES: Final = frozenset({"at", "since", "time", "lease_until", "waived_until"})
_JSON: Final = frozenset(
    {
        "asked", "because", "closed_by", "data", "escalations", "excluded", "fields", "form", "headers", "heal",
        "if_refused", "if_unanswered",
        "notice", "outcome", "output", "owner", "people", "problem", "who",
    }
)  # fmt: skip
_TRUTHS: Final = frozenset({"found", "late", "ok"})


def shown(row: RowMapping | Mapping[str, Any]) -> Shown:
    """Return a row with its times, lists and truths opened."""
    return {str(name): _value(str(name), value) for name, value in row.items()}


def all_shown(rows: Iterable[RowMapping]) -> list[Shown]:
    """Return rows, each as ``shown``."""
    return [shown(row) for row in rows]


def _value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, int):
        if name.endswith("_at") or name in _TIMES:
            return moment(value)
        return bool(value) if name in _TRUTHS else value
    if name in _JSON and isinstance(value, str) and value[:1] in ("{", "["):
        return orjson.loads(value)
    return value
