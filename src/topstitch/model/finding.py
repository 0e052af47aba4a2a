"""A remark of the checker: severity, place, message and remedy."""

from __future__ import annotations

import msgspec


class Span(msgspec.Struct, frozen=True):
    """A place in a file: lines and columns count from 1; the end column is one past the last."""

    line: int
    column: int
    end_line: int
    end_column: int


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One remark on a definition. ``help`` is the remedy; ``path`` the way to the value."""

    code: str
    message: str
    span: Span
    help: str | None = None
    severity: str = "error"
    path: tuple[str | int, ...] = ()
