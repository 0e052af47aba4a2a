"""Writes a small audit trail into a store: instances side by side, ordered, signed and anchored.

``Attacker`` is somebody with SQL: it changes rows the way an administrator could. Used by the
tests of the audit room and whoever needs a trail that was tampered with.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from topstitch.audit import tree
from topstitch.audit.anchors import FolderAnchor
from topstitch.audit.checkpoint import SigningKey, new_signing_key
from topstitch.audit.sequencer import Sequencer
from topstitch.audit.verify import Verdict, verify
from topstitch.foundation.clock import SimulatedClock
from topstitch.model.event import TriggerEvent
from topstitch.model.record import Actor, ActorKind, Draft, Stage
from topstitch.store import NewInstance, Store, at_once
from topstitch.store.database import Backend
from topstitch.store.ledger_reader import open_ledger

HR = Actor(ActorKind.HUMAN, "ada@acme.example")
SUBJECT = "priya.raman@mail.example"
NAME = "Priya Raman-Quetzal"


class Trail:
    """One installation's trail."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.clock = SimulatedClock()
        self.key: SigningKey = new_signing_key()
        self.anchor = FolderAnchor(folder / "anchor")
        self.sequencer = Sequencer(store, self.key, self.clock, [self.anchor])

    async def write(self, instances: int = 6, rounds: int = 4, each: int = 2) -> list[str]:
        """Start instances and append to all of them in turns, with a checkpoint after each round."""
        names = [f"ins_{number:04}" for number in range(instances)]
        for name in names:
            await self.start(name)
        for number in range(rounds):
            for name in names:
                drafts = [self.draft("flag.set", {"flag": f"{name}-{number}-{n}"}, step="flags") for n in range(each)]
                await self.store.append_outside(name, drafts, self.clock.now())
            await self.seal()
        return names

    async def start(self, name: str, *, subject: str = SUBJECT, data: dict[str, Any] | None = None) -> None:
        """Start an instance that carries a person's name."""
        data = data or {"name": NAME, "employee_id": "W-1"}
        event = TriggerEvent(id=f"evt_{name}", source="workday", type="t.t", data=data, received_at=self.clock.now())
        head = {"id": event.id, "source": event.source, "type": event.type, "signature": "none"}
        body: dict[str, Any] = {
            "event": head,
            "data": data,
            "title": f"Onboard {data['name']}",
            "workflow": "w",
            "version": "1",
        }
        first = Draft(
            kind="started",
            at=self.clock.now(),
            actor=HR,
            stage=Stage.TRIGGER,
            body=body,
            personal=(("data", "name"), ("title",)),
        )
        new = NewInstance(
            id=name, workflow="w", version="1", digest="d", first=first, title=body["title"], subject=subject
        )
        await self.store.accept(event, [new], raw=str(data).encode(), headers={"x-name": data["name"]})

    def draft(
        self, kind: str, body: dict[str, Any], *, step: str | None = None, actor: Actor = HR, **rest: Any
    ) -> Draft:
        self.clock.advance(1)
        return Draft(kind=kind, at=self.clock.now(), actor=actor, stage=Stage.EXECUTION, step=step, body=body, **rest)

    async def end(self, name: str) -> None:
        """Let an instance end, as its engine would."""
        now = self.clock.now()
        claims = await self.store.claim("test", now, 30, 1_000)
        for due in claims.due:
            if due.lease.instance == name:
                body = {"end": "completed", "residue": []}
                await self.store.append(due.lease, [self.draft("ended", body)], ended_at=now)
            else:
                await self.store.release(due.lease, None)

    async def seal(self) -> None:
        """Order, sign and anchor what there is."""
        self.clock.advance(5)
        await self.sequencer.turn(now_too=True)

    async def verify(self, *, anchored: bool = True, keys: Sequence[Any] = (), **more: Any) -> Verdict:
        """Verify with the key that is trusted, and the anchor unless told otherwise."""
        anchors = {"folder": await self.anchor.notes()} if anchored else {}
        with open_ledger(self.store) as reader:
            return verify(reader, keys=list(keys) or [self.key.key], anchors={**anchors, **more})


class Attacker:
    """Somebody with SQL on the database."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.sql = backend.execute

    def rows(self, instance: str) -> list[tuple[int, str, str]]:
        found = self.sql("SELECT seq, body, hash FROM journal WHERE instance = ? ORDER BY seq", (instance,))
        return [(seq, body, hash_hex) for seq, body, hash_hex in found]

    def set(self, instance: str, seq: int, /, **columns: Any) -> None:
        for name, value in columns.items():
            self.sql(f"UPDATE journal SET {name} = ? WHERE instance = ? AND seq = ?", (value, instance, seq))

    def edit(self, instance: str, seq: int) -> None:
        body = {s: b for s, b, _ in self.rows(instance)}[seq]
        self.set(instance, seq, body=body.replace(HR.id, "eve@acme.example"))

    def delete(self, instance: str, seq: int) -> None:
        self.sql("DELETE FROM journal WHERE instance = ? AND seq = ?", (instance, seq))

    def renumber(self, instance: str, behind: int, by: int) -> None:
        """Move the numbers of all records behind one."""
        self.sql("UPDATE journal SET seq = -seq WHERE instance = ? AND seq > ?", (instance, behind))
        self.sql("UPDATE journal SET seq = -seq + ? WHERE instance = ? AND seq < 0", (by, instance))

    def insert(self, instance: str, seq: int) -> None:
        """Put a forged record in, the others moved on, its hash right for its place."""
        rows = self.rows(instance)
        _, body, _ = rows[seq - 1]
        forged = body.replace("flag.set", "flag.got")
        prev = bytes.fromhex(rows[seq - 2][2]) if seq > 1 else bytes(32)
        self.renumber(instance, seq - 1, 1)
        self.forge(instance, seq, forged, chained(prev, forged).hex())

    def forge(self, instance: str, seq: int, body: str, hash_hex: str) -> None:
        columns = "kind, at, stage, step"
        self.sql(
            f"INSERT INTO journal (instance, seq, body, hash, {columns}) "
            "SELECT instance, CAST(? AS bigint), CAST(? AS text),"
            f" CAST(? AS text), {columns} FROM journal WHERE instance = ? AND seq <> ? ORDER BY seq DESC LIMIT 1",
            (seq, body, hash_hex, instance, seq),
        )

    def swap_numbers(self, instance: str, one: int, other: int) -> None:
        for seq, to in ((one, -other), (other, -one)):
            self.set(instance, seq, seq=to)
        self.sql("UPDATE journal SET seq = -seq WHERE instance = ? AND seq < 0", (instance,))

    def swap_bodies(self, one: tuple[str, int], other: tuple[str, int]) -> None:
        bodies = {place: {s: b for s, b, _ in self.rows(place[0])}[place[1]] for place in (one, other)}
        self.set(*one, body=bodies[other])
        self.set(*other, body=bodies[one])

    def cut(self, instance: str, behind: int, *, head_too: bool = False, leaves_too: bool = False) -> None:
        self.sql("DELETE FROM journal WHERE instance = ? AND seq > ?", (instance, behind))
        if head_too:
            self.set_head(instance)
        if leaves_too:
            self.sql("DELETE FROM leaves WHERE instance = ? AND seq > ?", (instance, behind))

    def remove(self, instance: str, *, leaves_too: bool = False) -> None:
        self.sql("DELETE FROM journal WHERE instance = ?", (instance,))
        self.sql("DELETE FROM instances WHERE id = ?", (instance,))
        if leaves_too:
            self.sql("DELETE FROM leaves WHERE instance = ?", (instance,))

    def rechain(self, instance: str) -> None:
        """Make the hashes of an instance fit its texts, its head too."""
        prev = bytes(32)
        for seq, body, _ in self.rows(instance):
            prev = chained(prev, body)
            self.set(instance, seq, hash=prev.hex())
        self.set_head(instance)

    def set_head(self, instance: str) -> None:
        seq, _, hash_hex = self.rows(instance)[-1]
        self.sql("UPDATE instances SET head_seq = ?, head_hash = ? WHERE id = ?", (seq, hash_hex, instance))

    def rebuild_tree(self) -> None:
        """Make the tree fit the records, in the order of their leaves; leaves without a record go."""
        found = self.sql(
            "SELECT l.instance, l.seq, j.hash FROM leaves l"
            " JOIN journal j ON j.instance = l.instance AND j.seq = l.seq ORDER BY l.leaf"
        )
        self.sql("DELETE FROM leaves")
        self.sql("DELETE FROM tiles")
        for leaf, (instance, seq, _) in enumerate(found):
            self.sql("INSERT INTO leaves (leaf, instance, seq) VALUES (?, ?, ?)", (leaf, instance, seq))
        hashes = [tree.leaf_hash(bytes.fromhex(hash_hex)) for _, _, hash_hex in found]
        for (level, number), data in tree.grow(0, {}, hashes).items():
            text = base64.b64encode(data).decode()
            self.sql("INSERT INTO tiles (level, number, data) VALUES (?, ?, ?)", (level, number, text))

    def drop_newest_checkpoint(self) -> None:
        self.sql("DELETE FROM checkpoints WHERE number = (SELECT max(number) FROM checkpoints)")


def chained(prev: bytes, body: str) -> bytes:
    return hashlib.sha256(b"\x00" + prev + body.encode()).digest()


def trail_in_memory(folder: Path, **size: int) -> tuple[Trail, list[str]]:
    """Write a trail into a store in memory, without an event loop."""
    trail = Trail(Store.open("sqlite::memory:"), folder)
    names = at_once(trail.write(**size))
    return trail, names
