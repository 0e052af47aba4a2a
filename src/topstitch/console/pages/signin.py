"""Signing in and out, by password or at a provider, and one's own account: roles, sessions, tokens.

The work is ``access``'s. A cookie holds the secret of a session and nothing else; it is new at each
sign-in. A target is only ever a path of this console. Signing out at the provider too is a link,
because a form may not lead elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from topstitch.access.making import make_token as make, revoke_token as revoke
from topstitch.access.service import Access, SignedIn, WaitError
from topstitch.console.hands import Hands
from topstitch.console.people import Person, whose
from topstitch.console.site import Site, back, local_path, sent
from topstitch.foundation.errors import NotAllowedError, NotFoundError, RequestError, TopstitchError
from topstitch.governance.access import RIGHTS, may_somewhere
from topstitch.store import sessions, tokens

FLOW_COOKIE: Final = "topstitch_flow"
FLOW_SECONDS: Final = 600
CALLBACK_PARTS: Final = ("code", "state", "error")


async def page(request: Request) -> Response:
    """``GET /sign-in?next=``."""
    hands: Hands = request.app.state.hands
    access = _access(hands)
    target = local_path(request.query_params.get("next"), "/")
    person = await whose(hands.identify, request)
    if person is not None and person.identity.via == "local":
        return RedirectResponse(target, 303)
    return await _form(request, access, target, again="again" in request.query_params)


async def with_password(request: Request) -> Response:
    """``POST /sign-in``."""
    access = _access(request.app.state.hands)
    form = await sent(request)
    target = local_path(form.get("next"), "/")
    name = form.get("name", "")
    old = request.cookies.get(access.cookie_name(request))
    try:
        done = await access.with_password(name, form.get("password", ""), _address(request), instead_of=old)
    except WaitError as error:
        answer = await _form(request, access, target, problem=error.message, name=name, status=429)
        answer.headers["Retry-After"] = str(error.seconds)
        return answer
    except NotAllowedError as error:
        return await _form(request, access, target, problem=error.message, name=name, status=403)
    return _come_in(request, access, done, target)


async def to_provider(request: Request) -> Response:
    """``GET /sign-in/with/{provider}?next=``: go to a provider."""
    access = _access(request.app.state.hands)
    name = request.path_params["provider"]
    target = local_path(request.query_params.get("next"), "/")
    url, state = await access.to_provider(
        name, _callback(request, access, name), target, anew="again" in request.query_params
    )
    response = RedirectResponse(url, 303)
    # Lax: the provider's redirect back is a navigation from elsewhere.
    response.set_cookie(
        FLOW_COOKIE, state, max_age=FLOW_SECONDS, httponly=True, secure=access.is_secure(request), samesite="lax"
    )
    return response


async def from_provider(request: Request) -> Response:
    """``GET /sign-in/back/{provider}?code=&state=``: come back from a provider."""
    access = _access(request.app.state.hands)
    name = request.path_params["provider"]
    answer = {part: request.query_params[part] for part in CALLBACK_PARTS if part in request.query_params}
    state, old = request.cookies.get(FLOW_COOKIE), request.cookies.get(access.cookie_name(request))
    try:
        done = await access.from_provider(name, answer, state, _callback(request, access, name), instead_of=old)
    except TopstitchError as error:
        response = await _form(request, access, "/", problem=error.message, status=403)
    else:
        response = _come_in(request, access, done, local_path(done.target, "/"))
    response.delete_cookie(FLOW_COOKIE)
    return response


async def ended(request: Request) -> Response:
    """``POST /sign-in/ended/{provider}``: a provider's server says that a session of its own has ended."""
    access = _access(request.app.state.hands)
    form = await sent(request)
    try:
        await access.signed_out_at(request.path_params["provider"], form.get("logout_token", ""))
    except NotAllowedError as error:
        return Response(error.message + "\n", 400, media_type="text/plain")
    return Response(status_code=200)


async def sign_out(request: Request) -> Response:
    """``POST /sign-out``: end the session here; a link to the provider's own sign-out follows."""
    access = _access(request.app.state.hands)
    cookie = access.cookie_name(request)
    secret = request.cookies.get(cookie)
    there = await access.sign_out(secret, access.origin_of(request) + "/sign-in") if secret else None
    response = await _form(request, access, "/", left=True, leave_at=there)
    response.delete_cookie(cookie, path="/", secure=access.is_secure(request), httponly=True, samesite="lax")
    response.headers["Clear-Site-Data"] = '"cache"'
    return response


async def account(request: Request) -> Response:
    """``GET /account``: who one is here, and what is open in one's name."""
    return await _account(request)


async def make_token(request: Request) -> Response:
    """``POST /account/tokens``: make a token for oneself and show it once."""
    hands: Hands = request.app.state.hands
    me = request.state.person.identity
    if me.via != "session":
        raise NotAllowedError("token-session", "tokens are made by people who have signed in; sign in first")
    form = await sent(request)
    days = form.get("days", "")
    scopes = [part for part in form.get("scopes", "").replace(",", " ").split() if part]
    try:
        text, _ = await make(
            hands.store,
            maker=me,
            bound_to=me,
            name=form.get("name", ""),
            scopes=scopes,
            days=int(days) if days.isdigit() else 0,
            now=hands.clock.now(),
        )
    except RequestError as error:
        return await _account(request, status=422, problem=error.message)
    return await _account(request, text=text)


async def revoke_token(request: Request) -> Response:
    """``POST /account/tokens/{name}/revoke``."""
    hands: Hands = request.app.state.hands
    await revoke(hands.store, request.path_params["name"], request.state.person.identity, hands.clock.now())
    return back(request, "/account", "The token is revoked.")


async def _account(request: Request, status: int = 200, **more: Any) -> Response:
    site: Site = request.app.state.site
    person: Person = request.state.person
    store = site.hands.store
    return await site.render(
        request,
        "account.html",
        status=status,
        title="Your account",
        grants=[str(grant) for grant in person.identity.every_grant],
        rights=[right for right in RIGHTS if may_somewhere(person.identity, right)],
        sessions=await sessions.of_person(store, person.id),
        tokens=await tokens.listing(store, person.id),
        now=site.hands.clock.now(),
        **{"text": None, "problem": None, **more},
    )


async def _form(request: Request, access: Access, target: str, status: int = 200, **more: Any) -> Response:
    site: Site = request.app.state.site
    request.state.person = None
    shown: Mapping[str, Any] = {
        "problem": None,
        "name": "",
        "again": False,
        "left": False,
        "leave_at": None,
        **more,
    }
    providers = [(name, one.provider.title or name) for name, one in access.providers.items()]
    return await site.render(
        request,
        "signin.html",
        status=status,
        bare=True,
        title="Sign in",
        target=target,
        target_quoted=quote(target, safe=""),
        providers=providers,
        **shown,
    )


def _come_in(request: Request, access: Access, done: SignedIn, target: str) -> Response:
    response = RedirectResponse(target, 303)
    response.set_cookie(
        access.cookie_name(request),
        done.secret,
        path="/",
        httponly=True,
        secure=access.is_secure(request),
        samesite="lax",
        max_age=int(access.limits.whole.total_seconds()),
    )
    return response


def _callback(request: Request, access: Access, name: str) -> str:
    return f"{access.origin_of(request)}/sign-in/back/{name}"


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _access(hands: Hands) -> Access:
    if hands.access is None:
        raise NotFoundError("not-found", "nobody signs in here; whoever sits at this machine acts as they choose")
    return hands.access
