"""Decides which fault, if any, the next call meets.

A fault list is ordered; the first entry that matches and has uses left is taken. The HTTP
simulators ask it per request, the mail server per command, the webhook sender per
delivery. It never performs a fault: ``simulator`` and ``mail`` do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from topstitch.foundation.clock import Clock


class FaultKind(StrEnum):
    """What goes wrong."""

    REFUSE = "refuse"
    """Answer ``status`` in the vendor's own error form; nothing happens."""
    TOO_MANY = "429"
    """The vendor's own "slow down", with Retry-After (``retry_after`` seconds)."""
    INTERNAL = "500"
    """The vendor's internal error; nothing happens."""
    UNAVAILABLE = "503"
    """The vendor's "unavailable"; nothing happens."""
    DOWN = "down"
    """Close the connection at once, without an answer; nothing happens."""
    TIMEOUT_BEFORE = "timeout_before"
    """Do nothing and hold the connection until the caller gives up."""
    TIMEOUT_AFTER_COMMIT = "timeout_after_commit"
    """Do it, then hold the connection until the caller gives up."""
    DROP_AFTER_COMMIT = "drop_after_commit"
    """Do it, then close the connection without an answer."""
    ACCEPT_STORE_NOTHING = "accept_store_nothing"
    """Answer success and store nothing."""
    ACCEPTED_LATER = "accepted_later"
    """Answer 202 with a job to poll; it happens ``seconds`` later."""
    ALREADY_DONE = "already_done"
    """Do it, then answer 409."""
    SLOW = "slow"
    """Wait ``seconds`` of clock time, then go on as usual."""
    TOKEN_EXPIRED = "token_expired"
    """Forget every token given out, so that this call is refused as unauthorised."""
    BAD_JSON = "bad_json"
    """Do it, then answer with a body that is cut off."""
    WRONG_SCHEMA = "wrong_schema"
    """Do it, then answer with fields bent: ``rename``, ``set``, ``retype``, ``drop``."""
    STALE_READ = "stale_read"
    """Show records as they were before their last change."""
    DUPLICATE_WEBHOOK = "duplicate_webhook"
    """Deliver a notification ``copies`` times more."""


ON_WRITES_ONLY: Final = frozenset(
    {
        FaultKind.DROP_AFTER_COMMIT,
        FaultKind.TIMEOUT_AFTER_COMMIT,
        FaultKind.ACCEPT_STORE_NOTHING,
        FaultKind.ACCEPTED_LATER,
        FaultKind.ALREADY_DONE,
    }
)
FOREVER: Final = -1
WEBHOOK_METHOD: Final = "WEBHOOK"


class FaultFormError(ValueError):
    """A fault that was asked for is not written as a fault."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """One entry of the list."""

    kind: FaultKind
    method: str = ""
    path: str = ""
    body: str = ""
    times: int = FOREVER
    after: int = 0
    for_seconds: float | None = None
    with_: Mapping[str, Any] = field(default_factory=dict)
    since: datetime | None = None
    used: int = 0

    def number(self, name: str, default: float) -> float:
        """Return a number that came with the fault."""
        return float(self.with_.get(name, default))

    def described(self) -> dict[str, Any]:
        """Return the entry as the control plane shows it."""
        match = {"method": self.method, "path": self.path, "body": self.body}
        limits = {"times": self.times, "after": self.after, "for_seconds": self.for_seconds, "used": self.used}
        return {"kind": self.kind.value, "match": match, **limits, **self.with_}


class Faults:
    """The ordered list of one simulator."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.entries: list[Fault] = []

    def add(self, form: Mapping[str, Any]) -> Fault:
        """Append one fault; ``{"match": {"method", "path", "body"}, "times", "kind", ...}``."""
        fault = read_fault(form)
        fault.since = self._clock.now()
        self.entries.append(fault)
        return fault

    def clear(self) -> None:
        """Forget all faults."""
        self.entries.clear()

    def take(self, method: str, path: str, body: bytes = b"", *, is_write: bool = True) -> Fault | None:
        """Return the first fault that this call meets, and count it; or nothing."""
        return next((fault for fault in self.entries if self._hits(fault, method, path, body, is_write)), None)

    def _hits(self, fault: Fault, method: str, path: str, body: bytes, is_write: bool) -> bool:
        if not self._live(fault) or not _matches(fault, method, path, body, is_write):
            return False
        if fault.after > 0:
            fault.after -= 1
            return False
        fault.used += 1
        if fault.times > 0:
            fault.times -= 1
        return True

    def _live(self, fault: Fault) -> bool:
        if fault.times == 0:
            return False
        if fault.for_seconds is None or fault.since is None:
            return True
        return self._clock.now() < fault.since + timedelta(seconds=fault.for_seconds)


def read_fault(form: Mapping[str, Any]) -> Fault:
    """Turn a control plane document into a fault; raise ``FaultFormError`` with the remedy."""
    known = ", ".join(kind.value for kind in FaultKind)
    try:
        kind = FaultKind(str(form["kind"]))
    except (KeyError, ValueError) as error:
        raise FaultFormError(f"a fault needs a kind; use one of {known}") from error
    match = form.get("match") or {}
    fault = Fault(
        kind=kind,
        method=str(match.get("method", "")).upper(),
        path=str(match.get("path", "")),
        body=str(match.get("body", "")),
        times=int(form.get("times", FOREVER)),
        after=int(form.get("after", 0)),
        for_seconds=None if form.get("for_seconds") is None else float(form["for_seconds"]),
        with_={k: v for k, v in form.items() if k not in {"kind", "match", "times", "after", "for_seconds", "used"}},
    )
    for pattern in (fault.path, fault.body):
        try:
            re.compile(pattern)
        except re.error as error:
            raise FaultFormError(f"{pattern!r} is not a regular expression ({error}); correct the match") from error
    return fault


def _matches(fault: Fault, method: str, path: str, body: bytes, is_write: bool) -> bool:
    if fault.kind in ON_WRITES_ONLY and not is_write:
        return False
    if fault.kind is FaultKind.STALE_READ and is_write:
        return False
    if (fault.kind is FaultKind.DUPLICATE_WEBHOOK) != (method == WEBHOOK_METHOD):
        return False
    if fault.method and fault.method != method.upper():
        return False
    if not (re.search(fault.path, path.partition("?")[0]) or re.search(fault.path, path)):
        return False
    return re.search(fault.body, body.decode("utf-8", "replace")) is not None
