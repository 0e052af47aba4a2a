"""What a person chooses for their own browser: theme, time zone, keys; who to act as in the demo; and the help page."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from topstitch.console import people, times
from topstitch.console.hands import Hands
from topstitch.console.pages.instances import COLUMNS, COLUMNS_COOKIE
from topstitch.console.site import (
    KEYS_COOKIE,
    THEME_COOKIE,
    THEMES,
    Site,
    acts_as_anybody,
    back,
    local_path,
    sent,
    sent_pairs,
)
from topstitch.foundation.errors import NotFoundError

YEAR_SECONDS = 365 * 24 * 3600


async def keep(request: Request) -> Response:
    """``POST /preferences``: keep them in cookies, go back."""
    pairs = await sent_pairs(request)
    form = dict(pairs)
    response = back(request, local_path(str(form.get("next") or ""), "/settings"))
    if "columns" in form:
        chosen = [value for name, value in pairs if name == "columns" and value in COLUMNS]
        _cookie(request, response, COLUMNS_COOKIE, ".".join(chosen))
    theme, zone, keys = (str(form.get(name) or "") for name in ("theme", "tz", "keys"))
    if theme in THEMES:
        _cookie(request, response, THEME_COOKIE, theme)
    if zone and times.zone_of(zone, request.app.state.hands.clock.now()).name == zone:
        _cookie(request, response, times.COOKIE, zone)
    if keys in ("on", "off"):
        _cookie(request, response, KEYS_COOKIE, keys)
    return response


async def act_as(request: Request) -> Response:
    """``POST /act-as``: in the demo, be somebody else."""
    hands: Hands = request.app.state.hands
    if not acts_as_anybody(hands, request.state.person):
        raise NotFoundError("not-found", "people sign in here; nobody acts as somebody else")
    form = await sent(request)
    person = str(form.get("person") or "").strip()[:200]
    response = back(request, local_path(str(form.get("next") or ""), "/approvals"))
    if person:
        _cookie(request, response, people.COOKIE, person)
    return response


def _cookie(request: Request, response: Response, name: str, value: str) -> None:
    secure = request.url.scheme == "https"
    response.set_cookie(
        name, value, max_age=YEAR_SECONDS, httponly=name == people.COOKIE, secure=secure, samesite="lax"
    )


async def help_page(request: Request) -> Response:
    """``GET /help``: keys, the search language, what the signs mean."""
    site: Site = request.app.state.site
    from topstitch.model.query import FIELDS  # noqa: PLC0415 -- only this page shows it

    return await site.render(request, "help.html", title="Help", fields=FIELDS)
