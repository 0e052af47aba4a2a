"""Saved views: a search of one list that a person gave a name, for themselves or for everybody.

The console saves, lists and removes them. A view is an address and nothing more: whoever opens it
sees what their own rights show.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy import or_, select

from topstitch.foundation.errors import NotAllowedError, NotFoundError, RequestError
from topstitch.foundation.ids import new_id
from topstitch.store.database import Backend
from topstitch.store.sealing import milliseconds
from topstitch.store.view_tables import saved_views

if TYPE_CHECKING:
    from topstitch.store.store import Store

NAME_MAX: Final = 80
ADDRESS_MAX: Final = 2000
VIEWS_MAX: Final = 50
"""How many a person may keep of one list."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One saved view."""

    id: str
    person: str
    list: str
    name: str
    address: str
    """The parameters of the list's address: ``q=state%3Awaiting``."""
    shared: bool


async def listing(store: Store, list_: str, person: str) -> list[View]:
    """Return a person's own views of a list and everybody's shared ones, by name."""
    v = saved_views.c
    query = (
        select(v.id, v.person, v.list, v.name, v.address, v.shared)
        .where(v.list == list_, or_(v.person == person, v.shared == 1))
        .order_by(v.name, v.id)
    )
    return await store.read(
        lambda c: [
            View(id=i, person=p, list=of, name=n, address=a, shared=bool(s)) for i, p, of, n, a, s in c.execute(query)
        ]
    )


async def save(store: Store, list_: str, person: str, name: str, address: str, now: datetime, *, shared: bool) -> View:
    """Keep a view; one of the same name by the same person is replaced."""
    name = name.strip()
    if not name or len(name) > NAME_MAX or len(address) > ADDRESS_MAX:
        raise RequestError("view-name", f"a view has a name of at most {NAME_MAX} characters; give it one")
    view = View(id=new_id("viw", now), person=person, list=list_, name=name, address=address, shared=shared)

    def do(backend: Backend) -> None:
        backend.execute("DELETE FROM saved_views WHERE list = ? AND person = ? AND name = ?", (list_, person, name))
        kept = backend.execute("SELECT COUNT(*) FROM saved_views WHERE list = ? AND person = ?", (list_, person))
        if kept[0][0] >= VIEWS_MAX:
            raise RequestError("too-many-views", f"you keep {VIEWS_MAX} views of this list already; remove one first")
        backend.execute(
            "INSERT INTO saved_views (id, person, list, name, address, shared, saved_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (view.id, person, list_, name, address, int(shared), milliseconds(now)),
        )

    await store.work(do)
    return view


async def remove(store: Store, view: str, person: str) -> None:
    """Remove a person's own view."""

    def do(backend: Backend) -> None:
        found = backend.execute("SELECT person FROM saved_views WHERE id = ?", (view,))
        if not found:
            raise NotFoundError("no-view", f"there is no view {view} any more; nothing is left to remove")
        if found[0][0] != person:
            raise NotAllowedError("not-your-view", f"{found[0][0]} saved this view; ask them to remove it")
        backend.execute("DELETE FROM saved_views WHERE id = ?", (view,))

    await store.work(do)
