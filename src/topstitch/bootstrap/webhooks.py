"""Sends webhooks beside the engine: what the ledger has placed is told to whoever asked, and told again until taken.

``sending`` is opened by ``serve``. Each round makes deliveries of new records, claims what is due and
sends it; several processes share the work by claiming. A receiver that takes nothing for three days
is disabled, and its owner is told. It never changes an instance.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from msgspec.structs import replace

from topstitch.connectors.outgoing import Answer, Outgoing
from topstitch.connectors.registry import Registry
from topstitch.connectors.signing import signed
from topstitch.connectors.telling import NOTICE, alias_for, mail
from topstitch.foundation.clock import Clock
from topstitch.foundation.errors import NotFoundError, TopstitchError
from topstitch.foundation.ids import jitter
from topstitch.model.kinds import Kind
from topstitch.model.record import ENGINE, Draft, Stage
from topstitch.office.told import word
from topstitch.store import Store, ledger, people, webhooks
from topstitch.store.vault import Vault
from topstitch.store.webhooks import FEED_RECORDS, Delivery, Endpoint

LOG: Final = logging.getLogger("topstitch.webhooks")
DELAYS_SECONDS: Final = (5, 60, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 64_800, 79_200)
"""How long to wait after each try: together three days; jitter adds up to a tenth."""
ROUND_SECONDS: Final = 1.0
AT_ONCE: Final = 20
CLAIM_SECONDS: Final = 60
FEED_ROUNDS_MAX: Final = 20


class Sending(Protocol):
    """What carries a message out; ``Outgoing`` is one."""

    async def send(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        """Send one message; return how it was answered."""
        ...


class Tell(Protocol):
    """Tells the owner of an endpoint that it was disabled."""

    async def __call__(self, endpoint: Endpoint, because: str) -> None:
        """Tell them."""
        ...


class Webhooks:
    """The rounds of one process."""

    def __init__(self, store: Store, clock: Clock, sender: Sending, tell: Tell | None = None) -> None:
        self._store, self._clock, self._sender, self._tell = store, clock, sender, tell
        self._vault = Vault(store)

    async def run(self, stop: asyncio.Event) -> None:
        """Go round until ``stop`` is set."""
        while not stop.is_set():
            try:
                await self.round()
            except TopstitchError as error:
                LOG.warning("webhooks wait: %s", error.message)
            later = self._clock.now() + timedelta(seconds=ROUND_SECONDS)
            waits = [asyncio.ensure_future(self._clock.sleep_until(later)), asyncio.ensure_future(stop.wait())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    async def round(self) -> int:
        """Tell what is new and try what is due; return how many messages were sent."""
        for _ in range(FEED_ROUNDS_MAX):
            if await webhooks.feed(self._store, word, self._clock.now()) < FEED_RECORDS:
                break
        now = self._clock.now()
        due = await webhooks.claim(self._store, now, now + timedelta(seconds=CLAIM_SECONDS), AT_ONCE)
        if not due:
            return 0
        known = {one.id: one for one in await webhooks.endpoints(self._store)}
        await asyncio.gather(*(self._send(known[one.endpoint], one) for one in due if one.endpoint in known))
        return len(due)

    async def _send(self, endpoint: Endpoint, delivery: Delivery) -> None:
        body = delivery.body.encode()
        now = self._clock.now()
        # the event's id, not the delivery's: a receiver that has seen it takes a replay for what it is
        headers = signed(delivery.event, now, body, await self._secrets(endpoint, now))
        answer = await self._sender.send(endpoint.url, headers, body)
        after, disable = _judged(endpoint, delivery, answer, self._clock.now())
        await webhooks.note(self._store, after, now, disable=disable)
        if disable is not None:
            await self._disabled(endpoint, disable)

    async def _secrets(self, endpoint: Endpoint, now: datetime) -> Sequence[str]:
        return [await self._vault.reveal(one.name) for one in endpoint.live(now)]

    async def _disabled(self, endpoint: Endpoint, because: str) -> None:
        """Write it in the installation's journal, and tell the owner."""
        LOG.warning("webhook %s of %s is disabled: %s", endpoint.id, endpoint.owner, because)
        body = {"command": "webhook.disable", "webhook": endpoint.id, "owner": endpoint.owner, "reason": because}
        await ledger.note_down(
            self._store,
            Draft(kind=Kind.OPERATOR_COMMANDED, at=self._clock.now(), actor=ENGINE, stage=Stage.AUDIT, body=body),
        )
        if self._tell is not None:
            await self._tell(endpoint, because)


class ByMail:
    """Tells the owner of a disabled endpoint by mail, where there is an address and a connection that sends."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store, self._registry = store, registry

    async def __call__(self, endpoint: Endpoint, because: str) -> None:
        """Tell them; what does not go out is in the log and in the journal."""
        to = await self._address(endpoint.owner)
        if to is None:
            return
        subject = "A webhook of yours was disabled"
        text = f"{because}. Mend the receiver, enable {endpoint.id} again, then replay what it missed.\n"
        try:
            alias = alias_for(self._registry, NOTICE)
            await mail(self._registry, alias, to, subject, text, f"{endpoint.id}/{endpoint.changed_at.timestamp():.0f}")
        except TopstitchError as error:
            LOG.warning("%s could not be told that %s is disabled: %s", to, endpoint.id, error.message)

    async def _address(self, owner: str) -> str | None:
        if "@" in owner:
            return owner
        try:
            return (await people.get(self._store, owner)).email
        except NotFoundError:
            return None


@contextlib.asynccontextmanager
async def sending(store: Store, clock: Clock, outgoing: Outgoing, tell: Tell | None = None) -> AsyncIterator[Webhooks]:
    """Send webhooks for the time of an ``async with`` block."""
    rounds, stop = Webhooks(store, clock, outgoing, tell), asyncio.Event()
    going = asyncio.create_task(rounds.run(stop), name="webhooks")
    try:
        yield rounds
    finally:
        stop.set()
        await going
        await outgoing.close()


def _judged(endpoint: Endpoint, delivery: Delivery, answer: Answer, now: datetime) -> tuple[Delivery, str | None]:
    """Return a delivery after a try, and why its endpoint is to be disabled, if it is."""
    tries = delivery.tries + 1
    tried = replace(delivery, tries=tries, answered=answer.status, problem=answer.problem)
    if answer.taken:
        return replace(tried, status=webhooks.SENT, sent_at=now, next_at=None, problem=None), None
    if answer.status == 410:
        return _given_up(tried), f"{endpoint.url} answered 410 Gone: it wants nothing more"
    if tries > len(DELAYS_SECONDS):
        said = f"{answer.status}" if answer.status is not None else answer.problem or "no answer"
        return _given_up(tried), f"{endpoint.url} took nothing in {tries} tries over three days; the last said: {said}"
    wait = DELAYS_SECONDS[tries - 1] * (1 + jitter(delivery.id, tries) / 10)
    return replace(tried, next_at=now + timedelta(seconds=wait)), None


def _given_up(delivery: Delivery) -> Delivery:
    return replace(delivery, status=webhooks.GIVEN_UP, next_at=None)
