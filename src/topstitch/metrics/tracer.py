"""Follows the journals of all instances for their spans, and reads each record once.

``otlp`` hands it what was written since its mark. What is open in an instance's trace is kept in
memory, with the hash of its last record, so that the next records need nothing but themselves.
Memory is only ever a short cut: a record whose hash does not follow from the one that is known -
after a restart, after another process's turn, when a batch is sent again, when a record came late,
when one was changed - has its journal read from the beginning. It knows no database.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import islice
from typing import Final

from topstitch.foundation.canonical import GENESIS
from topstitch.metrics.spans import Trace
from topstitch.metrics.wire import written
from topstitch.store.ledger import INSTALLATION
from topstitch.store.sealing import chained
from topstitch.store.traces import Written

TRACES_MAX: Final = 5000
"""How many traces are kept in memory, about three kilobytes each; those that were quiet for longest go first."""


class Tracer:
    """The traces that are under way, as far as this process has followed them."""

    def __init__(self, traces_max: int = TRACES_MAX) -> None:
        self._journals: dict[str, _Journal] = {}
        self._traces_max = traces_max

    def take(self, rows: Sequence[Written]) -> tuple[list[bytes], Mapping[str, set[int]]]:
        """Return the spans that a batch completes, and the records whose journals must be read for that first."""
        touched: dict[str, _Journal] = {}
        lacking: dict[str, set[int]] = {}
        for row in rows:
            name = row[1]
            journal = touched.get(name)
            if journal is None:
                known = self._journals.pop(name, None)
                journal = touched[name] = _Journal(name) if known is None else known
            if not journal.add(row):
                lacking[name] = set()
        lacking.pop(INSTALLATION, None)  # its own journal is no instance's
        for row in rows if lacking else ():
            if row.instance in lacking:
                lacking[row.instance].add(row.seq)
        return self._keep(touched), lacking

    def take_whole(self, rows: Iterable[Written], lacking: Mapping[str, set[int]]) -> list[bytes]:
        """Return the spans that those records complete, from their whole journals.

        A journal that does not verify is left out: that is the auditor's business.
        """
        touched = {name: _Journal(name, only) for name, only in lacking.items()}
        for row in rows:
            touched[row.instance].add(row)
        return self._keep(touched)

    def _keep(self, touched: Mapping[str, _Journal]) -> list[bytes]:
        """Keep what goes on, newest last, and return the spans that were found."""
        found: list[bytes] = []
        for name, journal in touched.items():
            if journal.whole:
                found += journal.give()
                if not journal.trace.ended:
                    self._journals[name] = journal
        for name in list(islice(self._journals, max(len(self._journals) - self._traces_max, 0))):
            del self._journals[name]
        return found


class _Journal:
    """One journal as far as it was followed, with the spans found, written at once: an object less to hold."""

    __slots__ = ("_found", "_hash", "_only", "trace", "whole")

    def __init__(self, instance: str, only: Container[int] | None = None) -> None:
        self.trace = Trace(instance)
        self.whole = True
        """Whether every record that came followed from the one before it."""
        self._hash = GENESIS
        self._found: list[bytes] = []
        self._only = only
        """The records whose spans are wanted, when not of all."""

    def add(self, row: Written) -> bool:
        """Follow a record, if it says what was written, behind the one that was followed last."""
        _, _, seq, kind, at_ms, hash_hex, text = row
        digest = chained(self._hash, text)
        if digest.hex() != hash_hex:
            self.whole = False
        if self.whole:
            self._hash = digest
            for span in self.trace.take(kind, at_ms, text):
                if self._only is None or seq in self._only:
                    self._found.append(written(span))
        return self.whole

    def give(self) -> list[bytes]:
        """Give away what was found; from here on every record is new."""
        found, self._found, self._only = self._found, [], None
        return found
