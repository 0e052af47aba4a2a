"""Decides what a search of instances says: one small language for address, API and command line.

``state:waiting workflow:employee-onboarding seam:servicenow>email older:2h priya`` is a list of
terms; all of them must hold. An unknown field, or a value that a field cannot have, is an
error that names what can be written: nothing is ever ignored. ``store.searches`` carries it out. Pure.
"""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Final

import msgspec

from topstitch.foundation.errors import RequestError
from topstitch.foundation.timetext import parse_duration

LENGTH_MAX: Final = 500
STATES: Final[dict[str, tuple[str, ...]]] = {
    "open": ("running", "waiting", "paused"),
    "ended": (
        "completed",
        "completed_with_exceptions",
        "rolled_back",
        "rolled_back_with_exceptions",
        "stopped",
        "cancelled",
    ),
    "running": ("running",),
    "waiting": ("waiting",),
    "paused": ("paused",),
    "completed": ("completed", "completed_with_exceptions"),
    "rolled_back": ("rolled_back", "rolled_back_with_exceptions"),
    "stopped": ("stopped",),
    "cancelled": ("cancelled",),
}
"""What may be written after ``state:``, and the statuses it stands for."""
HAS: Final = ("approval", "task", "case", "discrepancy")
FIELDS: Final[dict[str, str]] = {
    "state": "state:waiting, one of " + ", ".join(STATES),
    "workflow": "workflow:employee-onboarding",
    "version": "version:1.0.0",
    "key": "key:W-104233, what the definition's one_per says",
    "has": "has:approval, one of " + ", ".join(HAS),
    "seam": "seam:servicenow>email, connectors by name",
    "system": "system:itsm, the alias of a system that a step has begun to work on",
    "older": "older:2h, started longer ago than that",
    "newer": "newer:24h, started within that",
    "changed": "changed:2h, changed within that",
    "since": "since:2026-11-22T10:00Z, started then or later",
    "until": "until:2026-11-23T10:00Z, started before that",
}
_DURATION: Final = ("older", "newer", "changed")
_MOMENT: Final = ("since", "until")


class Query(msgspec.Struct, frozen=True):
    """A search, read."""

    text: str = ""
    terms: tuple[tuple[str, str], ...] = ()
    """Field and value, in the order they were written."""
    words: tuple[str, ...] = ()

    def values(self, field: str) -> list[str]:
        """Return what is asked of a field."""
        return [value for name, value in self.terms if name == field]

    def with_term(self, field: str, value: str | None) -> str:
        """Return the text of the search with a field set to one value, or left out."""
        kept = [f"{name}:{_quoted(known)}" for name, known in self.terms if name != field]
        added = [f"{field}:{_quoted(value)}"] if value else []
        return " ".join([*kept, *added, *map(_quoted, self.words)])


def parse_query(text: str) -> Query:
    """Read a search; raise ``RequestError`` that says what can be written."""
    if len(text) > LENGTH_MAX:
        raise RequestError("query-too-long", f"a search has at most {LENGTH_MAX} characters; write less")
    try:
        parts = shlex.split(text)
    except ValueError:
        raise RequestError("query-quotes", "a quotation mark is open in the search; close it") from None
    terms: list[tuple[str, str]] = []
    words: list[str] = []
    for part in parts:
        name, colon, value = part.partition(":")
        if colon and re.fullmatch(r"[a-z_.]+", name):
            terms.append((name, _checked(name, value)))
        else:
            words.append(part)
    return Query(text.strip(), tuple(terms), tuple(words))


def _checked(name: str, value: str) -> str:
    if name not in FIELDS:
        near = get_close_matches(name, FIELDS, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise RequestError(
            "query-field", f"a search knows no field {name!r}{hint}; use {', '.join(FIELDS)}, or quote the word"
        )
    allowed = {"state": tuple(STATES), "has": HAS}.get(name)
    if not value or (allowed is not None and value not in allowed):
        raise RequestError("query-value", f"{name}:{value} cannot be; write {FIELDS[name]}")
    if name in _DURATION:
        try:
            parse_duration(value)
        except ValueError as error:
            raise RequestError("query-value", f"{name}: {error}") from None
    if name in _MOMENT:
        moment_of(value)
    if name == "seam" and ">" not in value:
        raise RequestError("query-value", f"seam:{value} names no seam; write {FIELDS['seam']}")
    return value


def moment_of(value: str) -> datetime:
    """Read a time; without an offset it is UTC."""
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        message = f"{value!r} is no time; write it as {FIELDS['since']}"
        raise RequestError("query-value", message) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _quoted(value: str) -> str:
    return shlex.quote(value) if re.search(r"[\s'\"]", value) else value
