"""Makes and revokes API tokens, for the command ``tokens`` and the console's account page.

A token is for oneself, or for a service account by who may manage tokens. It always ends, and its
scopes name nothing that its maker may not do; what they may do later counts again at each use.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from topstitch.access.words import digest_of, new_token
from topstitch.foundation.errors import NotAllowedError, NotFoundError, RequestError
from topstitch.foundation.ids import new_id
from topstitch.governance.access import RIGHTS, Identity, Kind, is_scope, may_somewhere, require
from topstitch.model.record import Actor, parse_actor
from topstitch.store import Store, tokens
from topstitch.store.tokens import Token

DAYS_MAX: Final = 366
NAME_LENGTH_MAX: Final = 100
SCOPES_MAX: Final = 50


async def make_token(
    store: Store,
    *,
    maker: Identity,
    bound_to: Identity,
    name: str,
    scopes: Sequence[str],
    days: int,
    now: datetime,
) -> tuple[str, Token]:
    """Make a token; return its text, which is shown this once, and what is kept of it."""
    require(maker, "tokens.own" if bound_to.id == maker.id else "tokens.manage")
    if bound_to.id != maker.id and bound_to.kind == Kind.HUMAN:
        message = f"nobody but {bound_to.id} makes a token for {bound_to.id}; make one for a service account"
        raise NotAllowedError("token-other", message)
    _check(maker, name, scopes, days)
    token = Token(
        id=new_id("tok", now),
        name=name.strip(),
        person=bound_to.id,
        maker=maker.id,
        scopes=tuple(sorted(set(scopes))),
        made_at=now,
        ends_at=now + timedelta(days=days),
    )
    text = new_token()
    await tokens.make(store, digest_of(text), token, actor_of(maker))
    return text, token


async def revoke_token(store: Store, name: str, by: Identity, now: datetime) -> None:
    """Revoke a token of one's own, or anybody's with the right to manage them."""
    mine = {token.id for token in await tokens.listing(store, by.id)}
    if name not in mine and not may_somewhere(by, "tokens.manage"):
        raise NotFoundError("no-token", f"you have no token {name}; your account lists yours")
    await tokens.revoke(store, name, actor_of(by), now)


def actor_of(identity: Identity) -> Actor:
    """Return an identity as records name it."""
    return parse_actor(identity.actor)


def _check(maker: Identity, name: str, scopes: Sequence[str], days: int) -> None:
    if not name.strip() or len(name) > NAME_LENGTH_MAX:
        raise RequestError("token-name", f"a token has a name of 1 to {NAME_LENGTH_MAX} characters; say what it is for")
    if not 1 <= days <= DAYS_MAX:
        raise RequestError("token-days", f"a token is good for 1 to {DAYS_MAX} days; choose an end within that")
    if not scopes or len(scopes) > SCOPES_MAX:
        raise RequestError("token-scopes", "a token needs scopes, such as instances.read or *.read; name them")
    for scope in scopes:
        if not is_scope(scope):
            message = f"{scope!r} is no scope; use *.read, * or a right: {', '.join(RIGHTS)}"
            raise RequestError("token-scopes", message)
        if scope in RIGHTS and not may_somewhere(maker, scope):
            message = f"you may not do {scope} yourself, so no token of yours may; leave the scope out"
            raise NotAllowedError("token-wider", message)
