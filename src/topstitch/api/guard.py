"""Stands in front of every operation: who asks, whether they may, how often, and whether it was asked before.

``Guarded`` is the route class of the API: nothing of a request is read before its rule was asked. A
request with an ``Idempotency-Key`` is carried out once; its first answer is kept for a day and given
again. Parameters that an operation does not know are refused, never ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute

from topstitch.access.guard import PROTECTED, may_be_forged, rule_of
from topstitch.access.origins import REFUSED, is_ours
from topstitch.api.hands import ApiHands
from topstitch.api.throttle import Throttle
from topstitch.foundation.canonical import digest_bytes
from topstitch.foundation.errors import ConflictError, NotAllowedError, RequestError
from topstitch.governance.access import PUBLIC, SIGNED_IN, Identity, may_somewhere, require, require_fresh
from topstitch.store import idempotency

KEY: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
KEY_LENGTH_MAX: Final = 255
RETRY_SECONDS: Final = 2
KEPT_HEADERS: Final = ("location", "etag", "content-type")
NEEDED: Final = "x-idempotency"
"""In an operation's document: ``required`` or ``optional``."""
Answer = Callable[[Request], Coroutine[Any, Any, Response]]


class Guarded(APIRoute):
    """An operation behind its rule."""

    def get_route_handler(self) -> Answer:
        """Return what answers a request."""
        inner = super().get_route_handler()
        known = {param.alias for param in self.dependant.query_params}
        keyed = (self.openapi_extra or {}).get(NEEDED)

        async def answer(request: Request) -> Response:
            hands: ApiHands = request.app.state.hands
            caller, limits = await _admitted(request, hands, rule_of(self))
            _require_known(request, known)
            await _read(request, hands.body_bytes_max)
            if keyed and caller is not None:
                response = await _once(request, hands, caller, inner, required=keyed == "required")
            else:
                response = await inner(request)
            response.headers.update(limits)
            response.headers.setdefault("Cache-Control", "no-store")
            return response

        return answer


def caller_of(request: Request) -> Identity:
    """Return who asks."""
    found: Identity = request.state.caller
    return found


async def _admitted(request: Request, hands: ApiHands, rule: str | None) -> tuple[Identity | None, dict[str, str]]:
    if rule is None:
        raise NotAllowedError("undeclared", "nobody may do this: the address has no rule; report it")
    state = request.scope.setdefault("state", {})
    found: Identity | None = state.get(PROTECTED) or await hands.identify(request)
    state["caller"] = found
    throttle: Throttle = request.app.state.throttle
    limits = throttle.ask(found.actor if found else "nobody", hands.clock.now())
    if rule == PUBLIC:
        return found, limits
    if found is None:
        raise NotAllowedError("not-signed-in", "nobody is signed in; send a token as Authorization: Bearer")
    if may_be_forged(found, request) and not is_ours(request.scope, hands.origin):
        raise NotAllowedError("foreign-origin", REFUSED)
    if rule != SIGNED_IN and not may_somewhere(found, rule):
        require(found, rule)
    require_fresh(found, rule, hands.clock.now())
    return found, limits


def _require_known(request: Request, known: set[str]) -> None:
    for name in request.query_params:
        if name not in known:
            takes = f"this address takes {', '.join(sorted(known))}" if known else "this address takes none"
            error = {"pointer": f"?{name}", "code": "unknown", "detail": f"is not known; {takes}"}
            message = f"there is no parameter {name!r} here; {takes}"
            raise RequestError("parameter-unknown", message, detail={"errors": [error]})


async def _read(request: Request, bytes_max: int) -> None:
    """Read the body, up to a limit, before anything looks at it."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > bytes_max:
            message = f"the body is larger than {bytes_max // 1024} KB; send less, or raise body_kb_max"
            raise RequestError("too-large", message)
    request._body = bytes(body)  # noqa: SLF001 -- where Starlette keeps a body that was read


async def _once(request: Request, hands: ApiHands, caller: Identity, inner: Answer, *, required: bool) -> Response:
    key = request.headers.get(KEY)
    if key is None:
        if required:
            message = f"this writes outward, so it needs a key of its own; send {KEY} with a fresh value such as a UUID"
            raise RequestError("idempotency-key-missing", message)
        return await inner(request)
    if not key.strip() or len(key) > KEY_LENGTH_MAX:
        message = f"an {KEY} has 1 to {KEY_LENGTH_MAX} characters; send a fresh value such as a UUID"
        raise RequestError("idempotency-key-invalid", message)
    seen = await idempotency.begin(hands.store, caller.actor, key, await _fingerprint(request), hands.clock.now())
    if seen is not None:
        return await _again(request, key, seen)
    try:
        response = await inner(request)
    except BaseException:
        await idempotency.release(hands.store, caller.actor, key)
        raise
    kept = {name: value for name, value in response.headers.items() if name in KEPT_HEADERS}
    await idempotency.finish(
        hands.store, caller.actor, key, status=response.status_code, headers=kept, body=bytes(response.body)
    )
    return response


async def _fingerprint(request: Request) -> str:
    head = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    return digest_bytes(head + await request.body())


async def _again(request: Request, key: str, seen: idempotency.Kept) -> Response:
    if seen.fingerprint != await _fingerprint(request):
        message = f"the key {key} belongs to another request; send a fresh one with this"
        raise RequestError("idempotency-key-reused", message)
    if seen.status is None:
        message = f"the first request with the key {key} is still being carried out; ask again in a moment"
        raise ConflictError("idempotency-running", message, detail={"headers": {"Retry-After": str(RETRY_SECONDS)}})
    return Response(seen.body, seen.status, {**seen.headers, REPLAYED: "true"})
