"""Words what people are sent when they are asked: a letter in plain text, a card for chat, and the link in both.

``bootstrap`` calls ``Letters`` when a notice about an approval goes out. There is one link; it names the
approval and who it was sent to, ends with the approval, and opens a page: opening it decides nothing,
however often and by whomever it is fetched. A letter holds every fact, so that one can judge
before one clicks; it has no pictures and nothing that is loaded from elsewhere.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from typing import Any, Final

from topstitch.connectors.notices import Letter, Mail
from topstitch.foundation.errors import NotFoundError
from topstitch.foundation.timetext import rfc3339
from topstitch.office.asked import Asked, asked_of
from topstitch.office.desk import Desk
from topstitch.store import deciding

PATH: Final = "/decide/"
REMARK: Final = "Replies to this message are not read and decide nothing."


class Letters:
    """Letters about the approvals of one installation."""

    def __init__(self, desk: Desk, address: str) -> None:
        """``address`` is where people reach the console; without one letters carry no link."""
        self._desk, self._address = desk, address

    async def about(self, approval: str, title: str) -> Mail | None:
        """Return what those who were asked are sent, nothing once it is decided; ``title`` says why it is sent now."""
        asked = await asked_of(self._desk, approval)
        if asked.decided is not None:
            return None
        page = f"{self._address}/approvals/{asked.id}" if self._address else None
        return Mail(
            letters={p["id"]: self._letter(asked, p["id"], title) for p in asked.people},
            card=card(asked, title, link=page),
        )

    def _letter(self, asked: Asked, person: str, title: str) -> Letter:
        link = self.link(asked.id, person)
        return Letter(subject=title, text=text(asked, link), card=card(asked, title, link=link))

    def link(self, approval: str, person: str) -> str | None:
        """Return the address of the page on which one person decides."""
        if not self._address:
            return None
        return f"{self._address}{PATH}{token(self._desk, approval, person)}"


def token(desk: Desk, approval: str, person: str) -> str:
    """Return what stands in a link: the approval, and a mark of who it was sent to."""
    return f"{approval}.{deciding.recipient_mark(desk.store, approval, person)}"


async def opened(desk: Desk, text: str) -> tuple[Asked, Mapping[str, str], str]:
    """Return what a link's token is about, whom it was sent to, and their mark; raise when it is none of ours."""
    approval, _, mark = text.partition(".")
    try:
        asked = await asked_of(desk, approval)
    except NotFoundError:
        raise _unknown() from None
    for person in asked.people:
        own = deciding.recipient_mark(desk.store, approval, person["id"])
        if hmac.compare_digest(own.encode(), mark.encode()):
            return asked, person, own
    raise _unknown()


def _unknown() -> NotFoundError:
    message = "this link leads to no decision (any more); ask whoever sent it, or look at the approvals in the console"
    return NotFoundError("link-unknown", message)


def text(asked: Asked, link: str | None) -> str:
    """Return the whole letter in plain text."""
    return "\n".join(_lines(asked, link)) + "\n"


def _lines(asked: Asked, link: str | None) -> Iterator[str]:
    yield f"{asked.workflow} for {asked.about} asks whether {asked.what} may write this to {asked.system}:"
    yield ""
    yield from (f"  {label}: {value}" for label, value in asked.facts)
    yield ""
    if asked.proposal:
        yield f"It was {asked.proposal}"
    yield from (f"Asked because of {one}" for one in asked.why)
    yield f"Risk tier {asked.risk}. " + (
        f"{asked.quorum} people have to approve." if asked.quorum > 1 else "One person decides."
    )
    if asked.evidence:
        yield f"Name the {' and the '.join(asked.evidence)} in your comment when you approve."
    yield ""
    yield f"If you approve: {asked.if_approved}."
    yield f"If you refuse: {asked.if_refused}."
    yield f"If nobody answers by {rfc3339(asked.give_up_at)}: {asked.if_unanswered}."
    yield ""
    yield from _how(asked, link)
    yield f"Approval {asked.id}, payload {asked.payload_digest}."
    yield REMARK


def _how(asked: Asked, link: str | None) -> Iterator[str]:
    if link is None:
        yield f"Decide with: topstitch approvals approve {asked.id}   or: topstitch approvals refuse {asked.id}"
        return
    yield "Decide here (opening the page decides nothing):"
    yield link
    yield ""


def card(asked: Asked, title: str, *, link: str | None = None) -> dict[str, Any]:
    """Return what a chat message shows, in plain values: how it is drawn is the connector's business."""
    body: dict[str, Any] = {
        "approval": asked.id,
        "payload_digest": asked.payload_digest,
        "title": title,
        "question": f"{asked.workflow} for {asked.about} asks whether {asked.what} may write to {asked.system}.",
        "facts": [{"label": label, "value": value} for label, value in asked.facts],
        "why": [*([f"It was {asked.proposal}"] if asked.proposal else ()), *asked.why],
        "if_approved": asked.if_approved,
        "if_refused": asked.if_refused,
        "if_unanswered": asked.if_unanswered,
        "ends_at": rfc3339(asked.give_up_at),
        "risk": asked.risk,
    }
    if link is not None:
        body["link"] = link
    return body
