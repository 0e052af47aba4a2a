"""Whoever asks, and whoever may ask: the caller, people, groups, roles, tokens, saved views."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response

from topstitch.access.words import digest_of, new_token
from topstitch.api.answers import cut, send, single
from topstitch.api.guard import caller_of
from topstitch.api.hands import ApiHands
from topstitch.api.operations import PAGE, After, Id, Limit, operation, router
from topstitch.api.shapes import Nothing, PageOf, TokenGiven, ViewGiven
from topstitch.foundation.errors import NotAllowedError, NotFoundError, RequestError
from topstitch.foundation.ids import new_id
from topstitch.governance.access import RIGHTS, ROLES, SIGNED_IN, Identity, is_scope, may, may_somewhere
from topstitch.model.query import parse_query
from topstitch.model.record import parse_actor
from topstitch.store import people, tokens, views
from topstitch.store.people import GROUP
from topstitch.store.tokens import Token
from topstitch.store.views import View

api = router("people")


@operation(api, "GET", "/me", SIGNED_IN)
async def get_me(request: Request) -> Response:
    """Say who asks, and what they may do."""
    caller = caller_of(request)
    return single(
        request,
        {
            "id": caller.id, "name": caller.name, "email": caller.email, "kind": caller.kind, "actor": caller.actor,
            "via": caller.via, "grants": [str(one) for one in caller.every_grant], "groups": caller.groups,
            "scopes": caller.scopes, "rights": [right for right in RIGHTS if may_somewhere(caller, right)],
        },
    )  # fmt: skip


@operation(api, "GET", "/users", "people.read", shape=PageOf, command="topstitch users list")
async def list_users(request: Request, limit: Limit = PAGE, after: After = None) -> Response:
    """List people and service accounts, and what each was granted."""
    hands: ApiHands = request.app.state.hands
    return cut(request, await _users(hands), after, limit)


@operation(api, "GET", "/users/{name}", "people.read")
async def get_user(request: Request, name: Id) -> Response:
    """Show one person or service account."""
    hands: ApiHands = request.app.state.hands
    found = next((one for one in await _users(hands) if one["id"] == name), None)
    if found is None:
        raise NotFoundError(
            "no-person", f"there is nobody called {name!r} here; list the users and use an id from there"
        )
    return single(request, found)


@operation(api, "GET", "/groups", "people.read", shape=PageOf)
async def list_groups(request: Request, limit: Limit = PAGE, after: After = None) -> Response:
    """List the groups that people are in or that were granted something."""
    hands: ApiHands = request.app.state.hands
    known: dict[str, dict[str, Any]] = {}
    for one in await people.listing(hands.store):
        for group in one.member_of:
            known.setdefault(group, {"id": group, "members": [], "grants": []})["members"].append(one.id)
    for grant in await people.grants(hands.store):
        if grant.principal.startswith(GROUP):
            name = grant.principal.removeprefix(GROUP)
            one_group = known.setdefault(name, {"id": name, "members": [], "grants": []})
            one_group["grants"].append(f"{grant.role}:{grant.place}" if grant.place else grant.role)
    return cut(request, [known[name] for name in sorted(known)], after, limit)


@operation(api, "GET", "/roles", SIGNED_IN, shape=PageOf, command="topstitch roles")
async def list_roles(request: Request, limit: Limit = PAGE, after: After = None) -> Response:
    """List the roles, and the rights that each gives."""
    rows = [{"id": role, "rights": [right for right, given in RIGHTS.items() if role in given]} for role in ROLES]
    return cut(request, rows, after, limit)


async def _users(hands: ApiHands) -> list[dict[str, Any]]:
    grants: dict[str, list[str]] = {}
    for one in await people.grants(hands.store):
        grants.setdefault(one.principal, []).append(f"{one.role}:{one.place}" if one.place else one.role)
    return [
        {
            "id": one.id, "kind": one.kind, "name": one.name, "email": one.email, "owner": one.owner,
            "groups": one.member_of, "grants": grants.get(one.id, []), "made_at": one.made_at,
            "signed_in_at": one.signed_in_at, "disabled_at": one.disabled_at,
        }
        for one in await people.listing(hands.store)
    ]  # fmt: skip


# --- Tokens ---------------------------------------------------------------------------------------


@operation(api, "GET", "/tokens", "tokens.own", shape=PageOf, command="topstitch tokens list")
async def list_tokens(request: Request, limit: Limit = PAGE, after: After = None) -> Response:
    """List your tokens, or everybody's for whoever manages them; never their text."""
    hands: ApiHands = request.app.state.hands
    caller = caller_of(request)
    found = await tokens.listing(hands.store, None if may(caller, "tokens.manage") else caller.id)
    return cut(request, [_token(one) for one in found], after, limit)


@operation(api, "POST", "/tokens", "tokens.own", status=201)
async def make_token(request: Request, given: TokenGiven) -> Response:
    """Make a token of your own; its text is in this answer and nowhere else."""
    hands: ApiHands = request.app.state.hands
    caller = caller_of(request)
    _require_self(caller)
    wrong = [scope for scope in given.scopes if not is_scope(scope)]
    if wrong:
        error = [{"pointer": "/scopes", "code": "unknown", "detail": f"{scope} is no scope"} for scope in wrong]
        message = f"{', '.join(wrong)} is no scope; use rights such as instances.read, instances.*, *.read or *"
        raise RequestError("scope-unknown", message, detail={"errors": error})
    now = hands.clock.now()
    text = new_token()
    token = Token(
        id=new_id("tok", now), name=given.name, person=caller.id, maker=caller.id, scopes=tuple(given.scopes),
        made_at=now, ends_at=now + timedelta(days=given.days),
    )  # fmt: skip
    await tokens.make(hands.store, digest_of(text), token, parse_actor(caller.actor))
    return send({**_token(token), "token": text}, 201, {"Location": f"/api/v1/tokens/{token.id}"})


@operation(api, "DELETE", "/tokens/{name}", "tokens.own", shape=Nothing)
async def revoke_token(request: Request, name: Id) -> Response:
    """End a token at once."""
    hands: ApiHands = request.app.state.hands
    caller = caller_of(request)
    own = None if may(caller, "tokens.manage") else caller.id
    if name not in {one.id for one in await tokens.listing(hands.store, own)}:
        raise NotFoundError("no-token", f"you have no token {name}; list yours and use an id from there")
    await tokens.revoke(hands.store, name, parse_actor(caller.actor), hands.clock.now())
    return send({"id": name, "revoked": True})


def _require_self(caller: Identity) -> None:
    """Raise where a token would make tokens, or nobody signs in whom it could be bound to."""
    if caller.via != "session":
        message = "a token is made by a person who is signed in at the console; on this machine use topstitch tokens"
        raise NotAllowedError("not-allowed", message)


def _token(one: Token) -> dict[str, Any]:
    return {
        "id": one.id, "name": one.name, "person": one.person, "maker": one.maker, "scopes": one.scopes,
        "made_at": one.made_at, "ends_at": one.ends_at, "revoked_at": one.revoked_at, "used_at": one.used_at,
    }  # fmt: skip


# --- Saved views ----------------------------------------------------------------------------------


@operation(api, "GET", "/views", "views.own", shape=PageOf)
async def list_views(request: Request, limit: Limit = PAGE, after: After = None) -> Response:
    """List the searches that you or others have saved."""
    hands: ApiHands = request.app.state.hands
    found = await views.listing(hands.store, "instances", caller_of(request).id)
    return cut(request, [_view(one) for one in found], after, limit)


@operation(api, "POST", "/views", "views.own", status=201, key="optional")
async def save_view(request: Request, given: ViewGiven) -> Response:
    """Save a search under a name; one of the same name is replaced."""
    hands: ApiHands = request.app.state.hands
    parse_query(given.q)
    address = urlencode({"q": given.q})
    caller = caller_of(request)
    made = await views.save(
        hands.store, given.list, caller.id, given.name, address, hands.clock.now(), shared=given.shared
    )
    return send(_view(made), 201)


@operation(api, "DELETE", "/views/{name}", "views.own", shape=Nothing)
async def remove_view(request: Request, name: Id) -> Response:
    """Remove a view of your own."""
    hands: ApiHands = request.app.state.hands
    await views.remove(hands.store, name, caller_of(request).id)
    return send({"id": name, "removed": True})


def _view(one: View) -> dict[str, Any]:
    return {"id": one.id, "list": one.list, "name": one.name, "address": one.address, "person": one.person,
            "shared": one.shared}  # fmt: skip
