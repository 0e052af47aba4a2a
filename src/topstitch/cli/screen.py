"""Decides how a command speaks: data to standard output, all else to standard error.

Every command gets a ``Screen``. With ``--json``, or another form by ``-o``, its data is for a
program; otherwise text for a person. Colour and progress appear only on a terminal, and never with ``NO_COLOR``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TextIO

import click

from topstitch.foundation.errors import TopstitchError

MARKS: Final = {
    "ok": ("✓", "green"),
    "wait": ("◔", "magenta"),
    "work": ("▸", "blue"),
    "warn": ("▲", "yellow"),
    "bad": ("✗", "red"),
    "idle": ("·", "bright_black"),
}
"""State = glyph + word + colour; never colour alone."""
MARK_OF: Final[Mapping[str, str]] = {
    "completed": "ok",
    "running": "work",
    "waiting": "wait",
    "paused": "wait",
    "completed_with_exceptions": "warn",
    "rolled_back": "warn",
    "rolled_back_with_exceptions": "bad",
    "stopped": "bad",
    "cancelled": "idle",
}
GAP: Final = "  "
LEAST: Final = 12
"""Narrower than this no column gets."""


class Screen:
    """Where a command's words go."""

    def __init__(
        self,
        *,
        as_json: bool = False,
        form: str = "json",
        debug: bool = False,
        out: TextIO | None = None,
        sieve: Any = None,
    ) -> None:
        self.as_json = as_json
        """Whether a program reads this: in ``form``, which is JSON unless it asked for another."""
        self._form = form
        self._sieve = sieve
        """A jq filter that the data go through."""
        self.has_unused_sieve = sieve is not None
        self.debug = debug
        self._out = out or sys.stdout
        self.is_terminal = _is_terminal(self._out)

    def data(self, document: Any) -> None:
        """Print a command's data for a program, if one asked for them."""
        if self.as_json:
            from topstitch.cli.forms import sifted, written

            self.has_unused_sieve = False
            parts = (
                [written(document, self._form)] if self._sieve is None else sifted(document, self._sieve, self._form)
            )
            for part in parts:
                self._out.write(part)
            self._out.flush()

    def print(self, text: str = "") -> None:
        """Print data for a person; nothing when JSON was asked for."""
        if not self.as_json:
            click.echo(text, file=self._out, color=self.is_terminal)

    def note(self, text: str) -> None:
        """Say something that is no data."""
        click.echo(text, err=True, color=_is_terminal(sys.stderr))

    def error(self, error: TopstitchError) -> None:
        """Say what went wrong; as a problem document when JSON was asked for."""
        if self.as_json:
            document: dict[str, Any] = {"code": error.code, "message": error.message}
            if error.detail:
                document["detail"] = {k: v for k, v in error.detail.items() if _is_plain(v)}
            from topstitch.foundation.canonical import canonical_bytes

            click.echo(canonical_bytes({"error": document}).decode(), err=True)
            return
        self.note(f"{self.style('error', fg='red', bold=True, err=True)}[{error.code}]: {error.message}")

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[str]],
        empty: str,
        *,
        spare: Sequence[str] = (),
        wrap: bool = False,
    ) -> None:
        """Print rows under their columns; without any, say what would be here.

        On a narrow terminal the columns named ``spare`` are left out, the first of them first; what is still too
        wide is cut, or goes on in the next line with ``wrap``.
        """
        kept = [[str(cell) for cell in row] for row in rows]
        if self.as_json:
            return
        if not kept:
            self.note(empty)
            return
        spared = [columns.index(name) for name in spare]
        whole = without([[c.upper() for c in columns], *kept], spared, self.width)
        for line in aligned(whole, width=self.width, wrap=wrap):
            click.echo(line, file=self._out, color=self.is_terminal)

    def mark(self, kind: str, text: str = "") -> str:
        """Return a state's glyph, coloured, and its word."""
        glyph, colour = MARKS[kind]
        return f"{self.style(glyph, fg=colour)} {text}".rstrip()

    def style(self, text: str, *, err: bool = False, **how: Any) -> str:
        """Return text styled, where there is a terminal."""
        terminal = _is_terminal(sys.stderr) if err else self.is_terminal
        return click.style(text, **how) if terminal else text

    @property
    def width(self) -> int:
        """How many columns there are; no limit without a terminal."""
        if not self.is_terminal:
            return 0
        import shutil

        return shutil.get_terminal_size().columns


def status_of(screen: Screen, status: str) -> str:
    """Return a status with its glyph."""
    return screen.mark(MARK_OF.get(status, "idle"), status.replace("_", " "))


def counted(number: int, word: str) -> str:
    """Return ``1 record``, ``2 records``."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def plain(value: Any) -> str:
    """Return a value of a payload or a rule as a person reads it, not as Python writes it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    return json.dumps(value, ensure_ascii=False)


def aligned(rows: Sequence[Sequence[str]], *, width: int = 0, wrap: bool = False) -> list[str]:
    """Return rows as lines with aligned columns; the widest column gives way when there is a width.

    With ``wrap`` all wide columns do, and what does not fit goes on in the next line.
    """
    count = max(len(row) for row in rows)
    padded = [[*row, *[""] * (count - len(row))] for row in rows]
    widths = _widths(padded)
    over = _total(widths) - width if width else 0
    if over > 0 and not wrap:
        widest = widths.index(max(widths))
        widths[widest] = max(LEAST, widths[widest] - over)
    while wrap and over > 0 and max(widths) > LEAST:
        widths[widths.index(max(widths))] -= 1
        over -= 1
    if not wrap:
        return [GAP.join(_fitted(cell, widths[i]) for i, cell in enumerate(row)).rstrip() for row in padded]
    return [line for row in padded for line in _wrapped(row, widths)]


def without(rows: Sequence[Sequence[str]], spare: Sequence[int], width: int) -> list[list[str]]:
    """Return rows without as many of the spare columns as it takes to fit the width, the first named first."""
    widths, gone = _widths(rows), set[int]()
    for column in spare:
        kept = [size for i, size in enumerate(widths) if i not in gone]
        if not width or _total(kept) <= width:
            break
        gone.add(column)
    return [[cell for i, cell in enumerate(row) if i not in gone] for row in rows]


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(click.unstyle(cell)) for cell in column) for column in zip(*rows, strict=True)]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _wrapped(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Return one row as lines; a cell that fits stays as it is, styled or not."""
    import textwrap

    cells = [
        [cell] if len(click.unstyle(cell)) <= width else textwrap.wrap(click.unstyle(cell), width)
        for cell, width in zip(row, widths, strict=True)
    ]
    lines = max(len(cell) for cell in cells)
    filled = [[*cell, *[""] * (lines - len(cell))] for cell in cells]
    return [
        GAP.join(_fitted(part, width) for part, width in zip(parts, widths, strict=True)).rstrip()
        for parts in zip(*filled, strict=True)
    ]


def _fitted(cell: str, width: int) -> str:
    shown = click.unstyle(cell)
    if len(shown) > width:
        return shown[: width - 1] + "…"
    return cell + " " * (width - len(shown))


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float, bool, list, Mapping))
