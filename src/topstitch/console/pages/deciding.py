"""The page behind the link of a letter: the one question, and the answer of whoever turns out to be who.

A GET shows and never decides, however often it is fetched and by whatever. The answer is a POST of
somebody who is identified: signed in, or, where that is allowed, by a code from a second mail. The link
alone identifies nobody. Once the question is decided the page says so and shows nothing else.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from topstitch.console.hands import Hands
from topstitch.console.people import Person, whose
from topstitch.console.site import Site, back, sent
from topstitch.foundation.errors import NotAllowedError, RequestError, TopstitchError
from topstitch.governance.approvals import REFUSE
from topstitch.office.desk import Desk
from topstitch.office.letters import PATH, opened

BY_LINK = "mail"
BY_CODE = "mail and code"


async def question(request: Request) -> Response:
    """``GET /decide/{token}``."""
    return await _page(request)


async def answer(request: Request) -> Response:
    """``POST /decide/{token}``: one person's answer."""
    hands: Hands = request.app.state.hands
    form = await sent(request)
    said, comment = str(form.get("said") or ""), str(form.get("comment") or "").strip()
    if said == REFUSE and not comment:
        return await _page(request, problem="Say why: a refusal is kept with its reason.", status=422)
    try:
        await _answered(request, hands, said, comment, form)
    except TopstitchError as error:
        if not isinstance(error, RequestError):
            raise
        return await _page(request, problem=error.message, status=409 if error.code == "approval-decided" else 403)
    word = "Approved" if said != REFUSE else "Refused"
    return back(request, f"{PATH}{request.path_params['token']}", f"{word}. You may close this page.")


async def code(request: Request) -> Response:
    """``POST /decide/{token}/code``: send the code, in a mail of its own."""
    hands: Hands = request.app.state.hands
    asked, person, mark = await opened(_desk(hands), request.path_params["token"])
    if hands.codes is None:
        raise NotAllowedError("code-not-taken", "codes are not taken here; sign in to decide")
    try:
        await hands.codes.send(asked, person, mark)
    except RequestError as error:
        return await _page(request, problem=error.message, status=409)
    return back(request, f"{PATH}{request.path_params['token']}", "A code is on its way, in a mail of its own.")


async def _answered(request: Request, hands: Hands, said: str, comment: str, form: dict[str, str]) -> None:
    """Record the answer of who is signed in, or of whom the link was sent to, when their code is good."""
    desk = _desk(hands)
    asked, recipient, mark = await opened(desk, request.path_params["token"])
    person, digest = await _signed_in(request, hands), str(form.get("digest") or "") or asked.payload_digest
    if person is not None:
        await hands.commands.answer(asked.id, person, said, comment=comment or None, digest=digest, via=BY_LINK)
        return
    if hands.codes is None:
        raise NotAllowedError("not-signed-in", "nobody is signed in; sign in, then decide")
    speaker = await hands.codes.speaker(asked, recipient, mark, str(form.get("code") or ""))
    await desk.answer(asked.id, speaker, said, comment=comment or None, digest=digest, via=BY_CODE)
    await hands.codes.spend(asked, mark)


async def _page(request: Request, *, problem: str | None = None, status: int = 200) -> Response:
    hands: Hands = request.app.state.hands
    site: Site = request.app.state.site
    person = await _signed_in(request, hands)
    request.state.person = person
    asked, recipient, _ = await opened(_desk(hands), request.path_params["token"])
    here = f"{PATH}{request.path_params['token']}"
    values: dict[str, Any] = {
        "asked": asked,
        "recipient": recipient,
        "here": here,
        "problem": problem,
        "sign_in": f"{hands.sign_in}?next={here}" if hands.sign_in else None,
        "no_code": hands.codes.why_not(asked, recipient) if hands.codes else "Sign in to decide.",
    }
    return await site.render(request, "decide.html", status=status, title=asked.what, bare=True, **values)


async def _signed_in(request: Request, hands: Hands) -> Person | None:
    return await whose(hands.identify, request)


def _desk(hands: Hands) -> Desk:
    return Desk(hands.store, hands.load, hands.clock)
