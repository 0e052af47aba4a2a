"""The database hand. All SQL of the product lives in this room.

The writing side (``Store``; everything awaits its commit)::

    store = Store.open(url, key_file=None)            # sqlite:///..., a path, postgresql://..., sqlite::memory:
    await store.accept(event, starts, raw=..., headers=..., note=...)  -> Accepted
    await store.attend(owner, now)                     # frees the leases of engines that have died
    await store.claim(owner, now, lease_seconds, limit)           -> Claims(due, knocked, broken, next_wake)
    await store.append(lease, drafts, summary=Summary(stage, status, waiting_on),
                       park=False, wake_at=None, ended_at=None)
                                                       raises FencedError, BehindError(records)
    await store.catch_up(lease)                        -> new records by others
    await store.renew(leases, now, lease_seconds)      -> instances lost
    await store.release(lease, wake_at)
    await store.append_outside(instance, drafts, now, guards=[Still("approvals", id), NotYet(kind, step),
                                                              HeadIs(seq)])            -> records
    await store.wake([instance], at)
    store.listen(callback) -> stop                     # called in this loop when something may be due

Everything else stands in the file of its noun, as functions that take the store first:
``events``, ``instances``, ``definitions``, ``items`` (approvals, tasks, cases,
discrepancies), ``traces`` (steps, handoffs, effects, context reads, notices), ``chains``
(verification reads) and ``rebuild``. On ``sqlite::memory:`` nothing suspends and
``at_once(coroutine)`` runs any of it without an event loop.
"""

from topstitch.store.store import Store
from topstitch.store.values import (
    Accepted,
    BehindError,
    Claims,
    Due,
    FencedError,
    Guard,
    HeadIs,
    Lease,
    NewInstance,
    NotYet,
    Still,
    Summary,
)
from topstitch.store.writer import at_once

__all__ = [
    "Accepted", "BehindError", "Claims", "Due", "FencedError", "Guard", "HeadIs", "Lease", "NewInstance", "NotYet",
    "Still",
    "Store", "Summary", "at_once",
]  # fmt: skip
