"""What a business system can do, as data: the contract between definitions and connectors.

The language checks definitions against it, the plan copies what it needs, the connector
room makes it from its own typed actions. JSON Schemas use ``format: money``, ``format:
date``, ``format: date-time``, ``x-personal`` and ``x-secret`` beside the standard words.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

JsonSchema = Mapping[str, Any]


class Effect(StrEnum):
    """What an action does to the world."""

    READ = "read"
    """Nothing."""
    WRITE = "write"
    """Changes a record that can be looked at afterwards."""
    NOTIFY = "notify"
    """Tells somebody; cannot be taken back."""


class Idempotency(StrEnum):
    """How a repeated write is kept from happening twice (``connectors.md`` 4)."""

    NATURAL = "natural"
    """Sets a state; repeating is harmless."""
    NATIVE_KEY = "native_key"
    """The system takes our key and does the thing once."""
    UNIQUE = "unique"
    """The system refuses a duplicate; then look up and adopt."""
    FIND_FIRST = "find_first"
    """No guard there: look for our mark before each try."""
    NONE = "none"
    """At most once; an unknown outcome goes to a person."""

    @property
    def repeatable(self) -> bool:
        """Whether sending again with the same key is harmless by itself."""
        return self in (Idempotency.NATURAL, Idempotency.NATIVE_KEY)

    @property
    def looks_first(self) -> bool:
        """Whether a look-up before the first write is what tells *found* from *changed*."""
        return self in (Idempotency.UNIQUE, Idempotency.FIND_FIRST)


class ActionContract(msgspec.Struct, frozen=True, kw_only=True):
    """One named operation of a system.

    ``lookup`` names a read action that takes the write's own input (and our key) and returns
    the write's output, or nothing when the write never happened. ``undo`` names the write
    that takes the effect back; ``irreversible`` says why there is none.
    """

    name: str
    effect: Effect
    title: str = ""
    doc: str = ""
    input: JsonSchema = {}
    output: JsonSchema = {}
    idempotency: Idempotency | None = None
    lookup: str | None = None
    undo: str | None = None
    irreversible: str | None = None
    risk_floor: int = 1
    settle_seconds: float = 0
    timeout_seconds: float = 30

    @property
    def writes(self) -> bool:
        """Whether the action leaves anything behind."""
        return self.effect is not Effect.READ


class EventContract(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of business event a system sends. ``identity`` is where its own id stands."""

    name: str
    title: str = ""
    doc: str = ""
    data: JsonSchema = {}
    scheduled: bool = False
    """Whether it is a schedule and no business event (T-02)."""


class SystemContract(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one major version of a connector offers: ``entra-id@1``."""

    name: str
    major: int
    title: str
    kind: str = ""
    """What sort of system it is, for people: HRIS, Identity, ITSM, CRM, Messaging."""
    actions: Mapping[str, ActionContract] = {}
    events: Mapping[str, EventContract] = {}

    @property
    def ref(self) -> str:
        """How definitions name it."""
        return f"{self.name}@{self.major}"


Contracts = Mapping[str, SystemContract]
"""Installed contracts by ``name@major``."""
