"""Drafts, events and instances as small as the store takes them, for its tests and the engine's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from topstitch.model.event import TriggerEvent
from topstitch.model.record import ENGINE, Actor, ActorKind, Draft, Path, Stage
from topstitch.store import Lease, NewInstance, Store
from topstitch.store.database import Backend

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
DANA = Actor(ActorKind.HUMAN, "dana@acme.example")


def later(seconds: float) -> datetime:
    """Return a time after ``NOW``."""
    return NOW + timedelta(seconds=seconds)


def draft(
    kind: str,
    step: str | None = None,
    body: Mapping[str, Any] | None = None,
    personal: Sequence[Path] = (),
    at: datetime = NOW,
    actor: Actor = ENGINE,
) -> Draft:
    """Return a draft of the execution stage."""
    return Draft(
        kind=kind, at=at, actor=actor, stage=Stage.EXECUTION, step=step, body=body or {}, personal=tuple(personal)
    )


def event(name: str, kind: str = "workday.hire_completed", at: datetime = NOW) -> TriggerEvent:
    """Return an event."""
    data = {"worker": {"name": "Priya Raman"}}
    return TriggerEvent(id=name, source="workday/acme", type=kind, data=data, received_at=at)


def new(name: str, at: datetime = NOW, subject: str | None = None) -> NewInstance:
    """Return an instance whose first record has a personal name."""
    body = {"title": "Onboarding of Priya Raman", "data": {"name": "Priya Raman", "profile": "SE-2"}}
    first = Draft(
        kind="started", at=at, actor=ENGINE, stage=Stage.TRIGGER, body=body, personal=(("title",), ("data", "name"))
    )
    return NewInstance(
        id=name,
        workflow="employee-onboarding",
        version="1.0.0",
        digest="sha256:one",
        first=first,
        title="Onboarding of Priya Raman",
        correlation="W-104233",
        subject=subject,
    )


async def start(store: Store, name: str, at: datetime = NOW) -> None:
    """Start one instance by an event of its own."""
    await store.accept(event(f"event of {name}", at=at), [new(name, at)], raw=b'{"hire": "Priya Raman"}')


async def claim_one(store: Store, owner: str = "one", at: datetime = NOW, seconds: float = 30) -> Lease:
    """Claim the one instance that is due."""
    claims = await store.claim(owner, at, seconds, 10)
    (due,) = claims.due
    return due.lease


async def query(store: Store, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Look into the tables, through the writer's connection."""

    def look(backend: Backend) -> list[tuple[Any, ...]]:
        return backend.execute(sql, parameters)

    return await store.work(look)


async def dump(store: Store, tables: Sequence[str]) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of tables, sorted."""
    return {name: sorted(await query(store, f"SELECT * FROM {name}"), key=repr) for name in tables}
