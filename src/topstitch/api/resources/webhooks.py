"""Webhooks going out: who is told of what, their secrets, every delivery, and telling again."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import Query, Request, Response
from msgspec import to_builtins

from topstitch.api.answers import cut, page, require_match, send, single, split_cursor
from topstitch.api.guard import caller_of
from topstitch.api.hands import ApiHands
from topstitch.api.operations import PAGE, After, Id, Limit, operation, router
from topstitch.api.shapes import Nothing, PageOf, SecretRotated, WebhookChanged, WebhookGiven
from topstitch.connectors.outgoing import require_sendable
from topstitch.office import webhooks as told
from topstitch.office.told import TYPES
from topstitch.store import webhooks
from topstitch.store.sealing import milliseconds
from topstitch.store.webhooks import Delivery, Endpoint

api = router("webhooks")
Status = Annotated[str | None, Query(pattern="^(waiting|sent|given_up)$", description="Only of this status.")]


@operation(api, "GET", "/webhooks", "webhooks.read", shape=PageOf)
async def list_webhooks(request: Request, limit: Limit = PAGE, after: After = None) -> Response:
    """List who is told of what."""
    hands: ApiHands = request.app.state.hands
    return cut(request, [_shown(one) for one in await webhooks.endpoints(hands.store)], after, limit)


@operation(api, "GET", "/webhooks/types", "webhooks.read", shape=PageOf)
async def list_types(request: Request, limit: Limit = PAGE, after: After = None) -> Response:
    """List the types of events that webhooks are told of."""
    return cut(request, [{"id": name} for name in sorted(TYPES.values())], after, limit)


@operation(api, "POST", "/webhooks", "webhooks.manage", status=201, key="required")
async def add_webhook(request: Request, given: WebhookGiven) -> Response:
    """Tell an address from now on; its secret is in this answer and nowhere else, its public key is shown again."""
    hands: ApiHands = request.app.state.hands
    endpoint, proof = await told.add(
        hands.store,
        given.url,
        given.types,
        caller_of(request),
        hands.clock.now(),
        description=given.description,
        networks=hands.networks,
        signatures=given.signatures,
    )
    return send({**_shown(endpoint), **to_builtins(proof)}, 201, {"Location": f"/api/v1/webhooks/{endpoint.id}"})


@operation(api, "GET", "/webhooks/{name}", "webhooks.read")
async def get_webhook(request: Request, name: Id) -> Response:
    """Show one endpoint; its secrets never."""
    hands: ApiHands = request.app.state.hands
    return single(request, _shown(await webhooks.get(hands.store, name)))


@operation(api, "PATCH", "/webhooks/{name}", "webhooks.manage", match=True)
async def change_webhook(request: Request, name: Id, given: WebhookChanged) -> Response:
    """Change an endpoint, or enable it again; what is left out stays."""
    hands: ApiHands = request.app.state.hands
    was = await webhooks.get(hands.store, name)
    require_match(request, _shown(was))
    url = given.url if given.url is not None else was.url
    require_sendable(url, hands.networks)
    told.require_types(given.types or ())
    await webhooks.change(
        hands.store,
        name,
        hands.clock.now(),
        url=url,
        types=given.types if given.types is not None else was.types,
        description=given.description if given.description is not None else was.description,
        status=given.status or was.status,
    )
    endpoint = await webhooks.get(hands.store, name)
    await _note(request, "webhook.change", endpoint)
    return single(request, _shown(endpoint))


@operation(api, "DELETE", "/webhooks/{name}", "webhooks.manage", shape=Nothing)
async def remove_webhook(request: Request, name: Id) -> Response:
    """Tell an address nothing more, and forget its deliveries."""
    hands: ApiHands = request.app.state.hands
    await told.remove(hands.store, name, caller_of(request), hands.clock.now())
    return send({"id": name, "removed": True})


@operation(api, "POST", "/webhooks/{name}/secret", "webhooks.manage", status=201, key="required")
async def rotate_secret(request: Request, name: Id, given: SecretRotated) -> Response:
    """Make a new secret or key; for a while old and new both sign, so that a receiver can change over in peace."""
    hands: ApiHands = request.app.state.hands
    _, proof, ends_at = await told.rotate(
        hands.store,
        name,
        caller_of(request),
        hands.clock.now(),
        overlap=timedelta(hours=given.overlap_hours),
        signatures=given.signatures or (),
    )
    return send({"id": name, **to_builtins(proof), "old_ends_at": ends_at}, 201)


# --- Deliveries -----------------------------------------------------------------------------------


@operation(api, "GET", "/webhooks/{name}/deliveries", "webhooks.read", shape=PageOf)
async def list_deliveries(
    request: Request, name: Id, status: Status = None, limit: Limit = PAGE, after: After = None
) -> Response:
    """List what an endpoint was told or is to be told, newest first."""
    hands: ApiHands = request.app.state.hands
    await webhooks.get(hands.store, name)
    rows = await webhooks.deliveries(hands.store, name, status=status, after=split_cursor(after), limit=limit + 1)
    shown = rows[:limit]
    last = shown[-1] if len(rows) > limit else None
    following = f"{milliseconds(last.made_at)}.{last.id}" if last else None
    return page(request, [_delivery(one) for one in shown], following)


@operation(api, "GET", "/webhooks/{name}/deliveries/{delivery}", "webhooks.read")
async def get_delivery(request: Request, name: Id, delivery: Id) -> Response:
    """Show one delivery with what was sent and how the last try was answered."""
    hands: ApiHands = request.app.state.hands
    found = await webhooks.get_delivery(hands.store, name, delivery)
    return single(request, {**_delivery(found), "body": found.body})


@operation(api, "POST", "/webhooks/{name}/deliveries/{delivery}/replay", "webhooks.manage", status=202, key="required")
async def replay_delivery(request: Request, name: Id, delivery: Id) -> Response:
    """Tell the same event again, under the same webhook-id, so that a receiver that has it can tell."""
    hands: ApiHands = request.app.state.hands
    made = await told.replay(hands.store, name, delivery, hands.clock.now())
    return send(_delivery(made), 202, {"Location": f"/api/v1/webhooks/{name}/deliveries/{made.id}"})


async def _note(request: Request, what: str, endpoint: Endpoint) -> None:
    hands: ApiHands = request.app.state.hands
    await told.note(hands.store, what, endpoint, caller_of(request), hands.clock.now())


def _shown(one: Endpoint) -> dict[str, Any]:
    return {
        "id": one.id, "url": one.url, "types": one.types, "description": one.description, "owner": one.owner,
        "status": one.status, "because": one.because, "failing_since": one.failing_since,
        "secrets": told.shown_secrets(one), "made_at": one.made_at, "changed_at": one.changed_at,
    }  # fmt: skip


def _delivery(one: Delivery) -> dict[str, Any]:
    return {
        "id": one.id, "event": one.event, "type": one.type, "instance": one.instance, "status": one.status,
        "tries": one.tries, "made_at": one.made_at, "next_at": one.next_at, "sent_at": one.sent_at,
        "answered": one.answered, "problem": one.problem, "replay_of": one.replay_of,
    }  # fmt: skip
