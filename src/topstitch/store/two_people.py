"""What all keep alike that waits for a second person: definitions, policy bundles, calendars.

Each has a table and a ``Proposal`` of its own; how one becomes a row and is read back, which one a few
letters mean, and how it is noted in the installation's own journal, is decided here once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

import msgspec
import orjson
from sqlalchemy import RowMapping

from topstitch.foundation.errors import NotFoundError
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, Draft, Stage
from topstitch.store.database import Backend
from topstitch.store.ledger import note_down_with
from topstitch.store.sealing import milliseconds, moment

_TIMES: Final = ("proposed_at", "settled_at")


class Waiting(Protocol):
    """What waits."""

    @property
    def digest(self) -> str:
        """What names it."""
        ...


WaitingT = TypeVar("WaitingT", bound=Waiting)
StructT = TypeVar("StructT", bound=msgspec.Struct)


def insert(backend: Backend, table: str, new: msgspec.Struct) -> None:
    """Write a proposal down; its fields are the columns of ``table``."""
    values = {**msgspec.structs.asdict(new)}
    values["because"] = orjson.dumps(list(values["because"])).decode()
    backend.execute(
        f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",  # noqa: S608 -- constants
        [milliseconds(value) if isinstance(value, datetime) else value for value in values.values()],
    )


def read(kind: type[StructT], row: RowMapping) -> StructT:
    """Return the proposal of a row."""
    times = {name: moment(row[name]) if row[name] is not None else None for name in _TIMES if name in row}
    return kind(**{**row, **times, "because": tuple(orjson.loads(row["because"]))})


def one_of(known: Iterable[WaitingT], beginning: str, what: str, where: str) -> WaitingT:
    """Return the one whose digest begins so, with or without ``sha256:``; ``where`` lists ``what`` there is."""
    bare = beginning.removeprefix("sha256:")
    found = [one for one in known if bare and one.digest.removeprefix("sha256:").startswith(bare)]
    if len(found) != 1:
        raise NotFoundError("no-proposal", f"{len(found)} {what} begin with {beginning!r}; {where} lists them")
    return found[0]


def note(backend: Backend, kind: Kind, body: Mapping[str, Any], actor: Actor, at: datetime) -> None:
    """Note in the installation's own journal, inside the present transaction, what became of a proposal."""
    note_down_with(backend, Draft(kind=kind, at=at, actor=actor, stage=Stage.AUDIT, body=body))
