"""Turns what people press in Slack into answers: who pressed is looked up, and judged as at every other door.

The signed address and the socket both hand a click to ``take``, which returns at once; what follows is
done afterwards. A click says which Slack user pressed a button and nothing more: the person
behind it is found by address, and whether they may decide is asked now, whatever channel the
message stands in. Delivered twice, a click is one answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final, Protocol

import orjson

from topstitch.connectors.slack import blocks
from topstitch.foundation.canonical import digest
from topstitch.foundation.errors import ConflictError, TopstitchError
from topstitch.foundation.timetext import rfc3339
from topstitch.office.asked import Asked, asked_of
from topstitch.office.desk import Desk
from topstitch.office.speakers import Speakers
from topstitch.store import deciding
from topstitch.store.deciding import Message

LOG: Final = logging.getLogger("topstitch.slack")
AT_WORK_MAX: Final = 100
"""How many clicks are being answered at the same time; more are told to press again."""
REMEMBERED_MAX: Final = 1_000
REASON_FROM_TIER: Final = 4
"""From this risk tier on, approving asks for a comment too."""
SETTLED_AT_ONCE_MAX: Final = 20
VIA: Final = "slack"


class Chat(Protocol):
    """The other side of the conversation."""

    async def person(self, user: str) -> dict[str, str]:
        """Return who a user of the chat is."""
        ...

    async def is_ours(self, team: str) -> bool:
        """Whether a click comes from the workspace of the connection."""
        ...

    async def open(self, trigger: str, view: Mapping[str, Any]) -> None:
        """Open a form."""
        ...

    async def whisper(self, channel: str, user: str, text: str) -> None:
        """Tell one person something."""
        ...


class Settle(Protocol):
    """Shows how a question ended, in the place of its buttons."""

    async def __call__(self, message: Message, title: str, said: str) -> None:
        """Change one message."""
        ...


class Clicks:
    """The clicks of one workspace."""

    def __init__(self, desk: Desk, speakers: Speakers, chat: Chat, settle: Settle, connection: str) -> None:
        self._desk, self._speakers = desk, speakers
        self._chat, self._settle, self._connection = chat, settle, connection
        self._at_work: set[asyncio.Task[None]] = set()
        self._seen: dict[str, None] = {}

    def take(self, payload: Mapping[str, Any]) -> bool:
        """Begin to answer one click and return at once; a click that was seen before, or one too many, is let go."""
        name = _name(payload)
        if name in self._seen:
            return True
        if len(self._at_work) >= AT_WORK_MAX:
            return False
        self._seen[name] = None
        while len(self._seen) > REMEMBERED_MAX:
            del self._seen[next(iter(self._seen))]
        task = asyncio.create_task(self._answered(payload), name="a click")
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)
        return True

    async def rest(self) -> None:
        """Wait until every click that was taken is answered."""
        while self._at_work:
            await asyncio.wait(set(self._at_work))

    async def settle_decided(self) -> int:
        """Take the buttons off messages whose question was decided at another door; return how many were."""
        messages = await deciding.messages_to_settle(self._desk.store, self._connection, SETTLED_AT_ONCE_MAX)
        for message in messages:
            asked = await asked_of(self._desk, message.approval)
            await self._settled(message, asked)
        return len(messages)

    async def _answered(self, payload: Mapping[str, Any]) -> None:
        click = _click(payload)
        if click is None:
            return
        try:
            if not await self._chat.is_ours(click.team):
                LOG.warning("a click from another workspace was let go")
                return
            await self._said(click)
        except TopstitchError as error:
            await self._refused(click, error)
        except Exception:  # one click must not end the others
            LOG.exception("a click could not be answered")

    async def _said(self, click: _Click) -> None:
        asked = await asked_of(self._desk, click.approval)
        if asked.decided is not None:
            raise ConflictError("approval-decided", f"{asked.id} is decided: {asked.decided}; nothing was changed")
        if click.trigger and self._wants_words(asked, click):
            needed = click.said == blocks.REFUSE or bool(asked.evidence)
            await self._chat.open(click.trigger, blocks.form(click.said, click.keep(), needed=needed))
            return
        person = await self._speakers.speaker(await self._chat.person(click.user), asked.risk)
        await self._desk.answer(
            click.approval, person, click.said, comment=click.comment or None, digest=click.digest, via=VIA
        )
        await self._show(click)

    def _wants_words(self, asked: Asked, click: _Click) -> bool:
        return click.said == blocks.REFUSE or bool(asked.evidence) or asked.risk >= REASON_FROM_TIER

    async def _refused(self, click: _Click, error: TopstitchError) -> None:
        """Say why to who has pressed, and show the message as it stands."""
        try:
            await self._chat.whisper(click.channel, click.user, f"Nothing was decided by this: {error.message}")
            if isinstance(error, ConflictError):
                await self._show(click)
        except TopstitchError as again:
            LOG.warning("a click could not be answered: %s", again.message)

    async def _show(self, click: _Click) -> None:
        asked = await asked_of(self._desk, click.approval)
        if asked.decided is not None and click.channel and click.ts:
            place = Message(approval=click.approval, connection=self._connection, channel=click.channel, ts=click.ts)
            await self._settled(place, asked)

    async def _settled(self, message: Message, asked: Asked) -> None:
        now = self._desk.now()
        said = f"Decided: {asked.decided} ({rfc3339(asked.decided_at or now)})."
        await self._settle(message, f"{asked.what}: {asked.about}", said)
        await deciding.message_settled(self._desk.store, message, now)


class _Click:
    """One press of a button, or one form that was sent."""

    __slots__ = ("approval", "channel", "comment", "digest", "said", "team", "trigger", "ts", "user")

    def __init__(self, **parts: str) -> None:
        for name in self.__slots__:
            setattr(self, name, parts.get(name, ""))

    approval: str
    digest: str
    said: str
    comment: str
    user: str
    team: str
    channel: str
    ts: str
    trigger: str
    """Set for a press of a button: a form may be opened. Empty for the form itself."""

    def keep(self) -> str:
        """Return what a form carries along."""
        kept = {name: getattr(self, name) for name in ("approval", "digest", "said", "channel", "ts")}
        return orjson.dumps(kept).decode()


def _click(payload: Mapping[str, Any]) -> _Click | None:
    """Read what Slack sent; nothing when it is no answer to a question of ours."""
    user = str((payload.get("user") or {}).get("id") or "")
    team = str((payload.get("team") or {}).get("id") or (payload.get("user") or {}).get("team_id") or "")
    match payload.get("type"):
        case "block_actions":
            action: Mapping[str, Any] = next(iter(payload.get("actions") or ()), {})
            approval, _, seen = str(action.get("value") or "").partition(" ")
            said = str(action.get("action_id") or "")
            if said not in (blocks.APPROVE, blocks.REFUSE) or not approval or not seen:
                return None
            place = payload.get("container") or {}
            return _Click(
                approval=approval,
                digest=seen,
                said=said,
                user=user,
                team=team,
                channel=str(place.get("channel_id") or ""),
                ts=str(place.get("message_ts") or ""),
                trigger=str(payload.get("trigger_id") or ""),
            )
        case "view_submission":
            view = payload.get("view") or {}
            kept = _kept(view.get("private_metadata"))
            if kept is None:
                return None
            return _Click(**kept, comment=blocks.reason_in(view), user=user, team=team)
        case _:
            return None


def _kept(text: Any) -> dict[str, str] | None:
    try:
        kept = orjson.loads(text) if isinstance(text, str) else None
    except orjson.JSONDecodeError:
        return None
    wanted = {"approval", "digest", "said", "channel", "ts"}
    if not isinstance(kept, dict) or set(kept) != wanted or kept["said"] not in (blocks.APPROVE, blocks.REFUSE):
        return None
    return {name: str(value) for name, value in kept.items()}


def _name(payload: Mapping[str, Any]) -> str:
    """Return what makes a click this one: delivered again, it has the same."""
    action: Mapping[str, Any] = next(iter(payload.get("actions") or ()), {})
    view = payload.get("view") or {}
    parts = (payload.get("type"), payload.get("trigger_id"), action.get("action_ts"), view.get("id"), view.get("hash"))
    return digest([*parts, (payload.get("user") or {}).get("id")])
