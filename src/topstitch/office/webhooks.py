"""Decides how somebody outside is told of events: who begins, ends and repeats it, and what is noted of that.

Every door that changes webhooks comes here. An endpoint is kept with its secret in the vault, each change is in the
installation's own journal, and a test is sent at once and kept nowhere. Sending what the ledger holds is
``bootstrap.webhooks``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import msgspec

from topstitch.connectors.outgoing import Answer, Network, require_sendable
from topstitch.connectors.signing import SIGNATURES, V1, V1A, new_key, new_secret, public_of, signed
from topstitch.foundation.canonical import canonical_bytes
from topstitch.foundation.errors import RequestError
from topstitch.foundation.ids import new_id
from topstitch.foundation.timetext import rfc3339
from topstitch.governance.access import Identity
from topstitch.model.kinds import Kind
from topstitch.model.record import Draft, Stage, parse_actor
from topstitch.office.told import SOURCE, TYPES
from topstitch.store import Store, ledger, webhooks
from topstitch.store.vault import Vault
from topstitch.store.webhooks import Delivery, Endpoint, Secret

TEST_TYPE: Final = "topstitch.webhook.test"
"""The type of what ``test`` sends; no record is told under it."""


OVERLAP: Final = timedelta(hours=24)
"""How long an old secret or key signs beside a new one, unless said otherwise."""


class Proof(msgspec.Struct, frozen=True):
    """What a receiver checks messages with."""

    secret: str | None = None
    """The secret that it shares, said this once."""
    public_key: str | None = None
    """The public half of the key that signs, said to whoever may look."""


class Sending(Protocol):
    """What carries a message out; ``Outgoing`` is one."""

    async def send(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        """Send one message; return how it was answered."""
        ...


async def add(
    store: Store,
    url: str,
    types: Sequence[str],
    by: Identity,
    now: datetime,
    *,
    description: str | None = None,
    networks: Sequence[Network] = (),
    signatures: Iterable[str] = (V1,),
) -> tuple[Endpoint, Proof]:
    """Tell an address from now on; return it with what its receiver checks messages with."""
    require_sendable(url, networks)
    require_types(types)
    name = new_id("whe", now)
    proof, kept = await _made(store, name, by, now, signatures)
    endpoint = Endpoint(
        id=name, url=url, types=tuple(types), description=description, owner=by.id, status=webhooks.ENABLED,
        because=None, failing_since=None, secrets=kept, made_at=now, changed_at=now,
    )  # fmt: skip
    await webhooks.add(store, endpoint)
    await note(store, "webhook.add", endpoint, by, now)
    return endpoint, proof


async def remove(store: Store, name: str, by: Identity, now: datetime) -> Endpoint:
    """Tell an address nothing more, and forget its deliveries and its secrets."""
    endpoint = await webhooks.get(store, name)
    await webhooks.remove(store, name)
    vault = Vault(store)
    for secret in endpoint.secrets:
        await vault.forget(secret.name)
    await note(store, "webhook.remove", endpoint, by, now)
    return endpoint


async def replay(store: Store, name: str, delivery: str, now: datetime) -> Delivery:
    """Tell the same event again, under the same webhook-id, so that a receiver that has it can tell."""
    found = await webhooks.get_delivery(store, name, delivery)
    again = new_id("dlv", now)
    await webhooks.replay(store, found, again, now)
    return await webhooks.get_delivery(store, name, again)


async def test(store: Store, name: str, sender: Sending, now: datetime) -> Answer:
    """Send an endpoint one signed message about nothing, now, enabled or not; return how it was answered."""
    endpoint = await webhooks.get(store, name)
    vault = Vault(store)
    event = new_id("evt", now)
    document = {
        "specversion": "1.0",
        "id": event,
        "source": SOURCE,
        "type": TEST_TYPE,
        "subject": name,
        "time": rfc3339(now),
        "datacontenttype": "application/json",
        "data": {"webhook": name},
    }
    body = canonical_bytes(document)
    secrets = [await vault.reveal(one.name) for one in endpoint.live(now)]
    return await sender.send(endpoint.url, signed(event, now, body, secrets), body)


async def rotate(
    store: Store,
    name: str,
    by: Identity,
    now: datetime,
    *,
    overlap: timedelta = OVERLAP,
    signatures: Iterable[str] = (),
) -> tuple[Endpoint, Proof, datetime]:
    """Sign with something new from now on; return it, and until when the old signs every message too.

    ``signatures`` says how messages are signed from then on; nothing: as before. Of each sort the old one stays and
    no older: a receiver has one to go over from.
    """
    endpoint = await webhooks.get(store, name)
    ends_at = now + overlap
    wanted = set(signatures) or {_signature(one) for one in endpoint.secrets if one.ends_at is None}
    proof, made = await _made(store, name, by, now, wanted)
    old = [next((one for one in endpoint.live(now) if _signature(one) == signature), None) for signature in SIGNATURES]
    kept = [msgspec.structs.replace(one, ends_at=min(one.ends_at or ends_at, ends_at)) for one in old if one]
    secrets = (*made, *(one for one in kept if one.ends_at and one.ends_at > now))
    await webhooks.keep_secrets(store, name, secrets, now)
    names, vault = {one.name for one in secrets}, Vault(store)
    for one in endpoint.secrets:
        if one.name not in names:
            await vault.forget(one.name)
    changed = msgspec.structs.replace(endpoint, secrets=secrets, changed_at=now)
    await note(store, "webhook.secret", changed, by, now)
    return changed, proof, ends_at


def shown_secrets(endpoint: Endpoint) -> list[dict[str, Any]]:
    """Say how an endpoint's messages are signed; public keys are shown, secrets never."""
    return [
        {"signature": _signature(one), "public_key": one.public_key, "ends_at": one.ends_at} for one in endpoint.secrets
    ]


def _signature(secret: Secret) -> str:
    return V1A if secret.public_key else V1


async def _made(
    store: Store, name: str, by: Identity, now: datetime, signatures: Iterable[str]
) -> tuple[Proof, tuple[Secret, ...]]:
    """Make what signs an endpoint's messages and keep it in the vault."""
    wanted, made, proof = set(signatures), [], Proof()
    for signature in SIGNATURES:
        if signature not in wanted:
            continue
        kept = f"webhook/{name}/{new_id('sec', now)}"
        if signature == V1A:
            value = new_key()
            public = public_of(value)
            proof = msgspec.structs.replace(proof, public_key=public)
            made.append(Secret(kept, None, public))
        else:
            value = new_secret()
            proof = msgspec.structs.replace(proof, secret=value)
            made.append(Secret(kept))
        await Vault(store).put(kept, value, parse_actor(by.actor), now)
    return proof, tuple(made)


def require_types(types: Iterable[str]) -> None:
    """Raise ``RequestError`` for a type of event that nobody is told of."""
    known = set(TYPES.values())
    for one in types:
        if not any(one == each or (one.endswith("*") and each.startswith(one[:-1])) for each in known):
            message = f"there is no event of type {one!r}; use {', '.join(sorted(known))}, or a beginning with *"
            error = {"pointer": "/types", "code": "unknown", "detail": f"{one} is no type of event"}
            raise RequestError("event-unknown", message, detail={"errors": [error]})


async def note(store: Store, what: str, endpoint: Endpoint, by: Identity, now: datetime) -> None:
    """Write in the installation's journal who changed what is told to whom."""
    body = {"command": what, "webhook": endpoint.id, "url": endpoint.url, "types": list(endpoint.types)}
    draft = Draft(kind=Kind.OPERATOR_COMMANDED, at=now, actor=parse_actor(by.actor), stage=Stage.AUDIT, body=body)
    await ledger.note_down(store, draft)
