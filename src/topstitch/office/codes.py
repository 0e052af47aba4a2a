"""Lets somebody without an account decide: a code that is good once, for a few minutes, from a second mail.

The page behind a link calls it when nobody is signed in. Whether codes are taken at all, and up to which
risk tier, is a setting; without it nobody decides who is not signed in. A code proves that
whoever holds the link also reads the mailbox it was sent to, and nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final

from topstitch.foundation.errors import ConflictError, NotAllowedError
from topstitch.foundation.ids import random_bytes
from topstitch.governance.access import Identity
from topstitch.office.asked import Asked
from topstitch.office.desk import Desk
from topstitch.office.speakers import Speakers
from topstitch.store import deciding

MINUTES: Final = 10
TRIES_MAX: Final = 5
"""After so many wrong tries a code is dead, and another one has to be sent."""
MADE_MAX: Final = 5
"""How many codes are sent for one decision to one person."""
DIGITS: Final = 8
Send = Callable[[str, str, str, str], Awaitable[None]]
"""Address, subject, text, key."""


class Codes:
    """The one-time codes of one installation."""

    def __init__(self, desk: Desk, send: Send, speakers: Speakers, tier_max: int) -> None:
        self._desk, self._send, self._speakers, self.tier_max = desk, send, speakers, tier_max

    def why_not(self, asked: Asked, person: Mapping[str, str]) -> str | None:
        """Say why no code is taken for a decision, or nothing when one is."""
        if self.tier_max == 0:
            return "Sign in to decide: codes are not taken here."
        if asked.risk > self.tier_max:
            return f"Sign in to decide: codes are taken up to risk tier {self.tier_max}, and this is {asked.risk}."
        if not person.get("email"):
            return "Sign in to decide: no mailbox of yours is known."
        return None

    async def send(self, asked: Asked, person: Mapping[str, str], mark: str) -> None:
        """Send a fresh code in a mail of its own."""
        self._require(asked, person)
        if asked.decided is not None:
            raise ConflictError("approval-decided", f"{asked.id} is decided: {asked.decided}; no code is needed")
        now = self._desk.now()
        code = _fresh()
        digest = deciding.code_mark(self._desk.store, asked.id, mark, code)
        await deciding.keep_code(
            self._desk.store,
            asked.id,
            mark,
            digest,
            now=now,
            ends_at=now + timedelta(minutes=MINUTES),
            made_max=MADE_MAX,
        )
        words = (
            f"Your code is {code[:4]} {code[4:]}. It is good once, for {MINUTES} minutes, for one decision:\n"
            f"{asked.what} for {asked.about}.\n\nNobody asks you for it but the page you opened. "
            "If you opened none, leave it be: without it nobody decides in your name.\n"
        )
        await self._send(person["email"], "Your code for a decision", words, f"code:{digest}")

    async def speaker(self, asked: Asked, person: Mapping[str, str], mark: str, code: str) -> Identity:
        """Return who speaks with a code; raise unless it is the one that was sent.

        Only who holds the right one is told more than that. It is used up once they have decided (``spend``): who
        may not decide keeps it until somebody has given them the right.
        """
        self._require(asked, person)
        digits = "".join(c for c in code if c.isdigit())
        digest = deciding.code_mark(self._desk.store, asked.id, mark, digits)
        good = await deciding.try_code(
            self._desk.store, asked.id, mark, digest, now=self._desk.now(), tries_max=TRIES_MAX
        )
        if not good:
            raise NotAllowedError(
                "code-wrong", "this is not the code of the last mail, or its time is over; have another one sent"
            )
        return await self._speakers.speaker(person, asked.risk)

    async def spend(self, asked: Asked, mark: str) -> None:
        """Use a code up, after its answer: until then the rules let each person answer only once."""
        await deciding.spend_code(self._desk.store, asked.id, mark, tries_max=TRIES_MAX)

    def _require(self, asked: Asked, person: Mapping[str, str]) -> None:
        why = self.why_not(asked, person)
        if why is not None:
            raise NotAllowedError("code-not-taken", f"{why[0].lower()}{why[1:]}")


def _fresh() -> str:
    """Return eight digits, each as likely as any other."""
    return f"{int.from_bytes(random_bytes(16), 'big') % 10**DIGITS:0{DIGITS}d}"
