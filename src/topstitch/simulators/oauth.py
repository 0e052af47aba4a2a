"""Gives out and checks access tokens the way OAuth 2.0 client credentials do.

The vendors' modules call it; the wording of a refusal is theirs, so it only says which.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from topstitch.foundation.clock import Clock
from topstitch.foundation.ids import random_bytes
from topstitch.foundation.timetext import parse_time, rfc3339
from topstitch.simulators.state import Json, Records
from topstitch.simulators.wire import Call


class Standing(StrEnum):
    """How a token stands."""

    GOOD = "good"
    MISSING = "missing"
    UNKNOWN = "unknown"
    EXPIRED = "expired"


def credentials(call: Call) -> tuple[str, str]:
    """Return client id and secret, from HTTP basic or from the form."""
    form = call.fields()
    return call.basic() or (str(form.get("client_id", "")), str(form.get("client_secret", "")))


def issue(records: Records, clock: Clock, *, client: str, seconds: float) -> str:
    """Give out a token that is good for ``seconds``."""
    token = random_bytes(24).hex()
    good_until = rfc3339(clock.now() + timedelta(seconds=seconds))
    records.put("_tokens", token, {"id": token, "client": client, "good_until": good_until})
    return token


def standing(records: Records, clock: Clock, token: str) -> Standing:
    """Say how a token stands."""
    if not token:
        return Standing.MISSING
    known: Json | None = records.get("_tokens", token)
    if known is None:
        return Standing.UNKNOWN
    return Standing.GOOD if clock.now() < parse_time(known["good_until"]) else Standing.EXPIRED
