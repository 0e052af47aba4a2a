"""What the journal holds: records, who made them, and at which stage.

A draft is what a pure function asks to have recorded; the store gives it its place in the
instance's chain and it becomes a record. Bodies are JSON-shaped: text, whole numbers,
booleans, null, lists and maps; times are RFC 3339 text and money is text.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

Path = tuple[str | int, ...]
"""The way from a body's root to one value in it."""


class Stage(StrEnum):
    """The five stages; only ``lifecycle`` knows their order."""

    TRIGGER = "trigger"
    CONTEXT = "context"
    EXECUTION = "execution"
    RECONCILIATION = "reconciliation"
    AUDIT = "audit"


class ActorKind(StrEnum):
    """What sort of actor it was."""

    HUMAN = "human"
    AGENT = "agent"
    POLICY = "policy"
    SYSTEM = "system"


class Actor(msgspec.Struct, frozen=True):
    """Who did it: ``human:dana@acme.example``, ``policy:equipment-2500``, ``system:engine``."""

    kind: ActorKind
    id: str

    def __str__(self) -> str:
        """Write it as ``kind:id``."""
        return f"{self.kind}:{self.id}"


ENGINE = Actor(ActorKind.SYSTEM, "engine")


def parse_actor(text: str) -> Actor:
    """Read ``kind:id``; a bare id is a human's."""
    kind, colon, name = text.partition(":")
    if colon and kind in {known.value for known in ActorKind}:
        return Actor(ActorKind(kind), name)
    return Actor(ActorKind.HUMAN, text)


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A record before it has its place.

    ``personal`` names the values in ``body`` that never enter the record as they are: the
    store puts a salted commitment there and keeps the value, encrypted, elsewhere.
    """

    kind: str
    at: datetime
    actor: Actor
    stage: Stage
    step: str | None = None
    body: Mapping[str, Any] = {}
    personal: tuple[Path, ...] = ()


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of an instance's journal, opened: personal values stand in ``body`` again.

    A value that was erased stands as ``{"erased": <commitment>}``.
    """

    instance: str
    seq: int
    kind: str
    at: datetime
    actor: Actor
    stage: Stage
    step: str | None
    body: Mapping[str, Any]
    hash: bytes = b""
