"""Decides how somebody outside is told of events: who begins, ends and repeats it, and what is noted of that.

Every door that changes webhooks comes here. An endpoint is kept with its secret in the vault, each change is in the
installation's own journal, and a test is sent at once and kept nowhere. Sending what the ledger holds is
``bootstrap.webhooks``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Protocol

from topstitch.connectors.outgoing import Answer, Network, new_secret, require_sendable, signed
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
) -> tuple[Endpoint, str]:
    """Tell an address from now on; return it with its secret, which is said this once."""
    require_sendable(url, networks)
    require_types(types)
    name = new_id("whe", now)
    secret, kept = await make_secret(store, name, by, now)
    endpoint = Endpoint(
        id=name, url=url, types=tuple(types), description=description, owner=by.id, status=webhooks.ENABLED,
        because=None, failing_since=None, secrets=(kept,), made_at=now, changed_at=now,
    )  # fmt: skip
    await webhooks.add(store, endpoint)
    await note(store, "webhook.add", endpoint, by, now)
    return endpoint, secret


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
    live = [one.name for one in endpoint.secrets if one.ends_at is None or one.ends_at > now]
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
    return await sender.send(endpoint.url, signed(event, now, body, [await vault.reveal(each) for each in live]), body)


async def make_secret(store: Store, name: str, by: Identity, now: datetime) -> tuple[str, Secret]:
    """Make a secret of an endpoint and keep it in the vault; return it, and how the endpoint names it."""
    secret, kept = new_secret(), f"webhook/{name}/{new_id('sec', now)}"
    await Vault(store).put(kept, secret, parse_actor(by.actor), now)
    return secret, Secret(kept)


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
