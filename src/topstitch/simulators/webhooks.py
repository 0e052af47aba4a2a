"""Delivers a simulated system's notifications: signed, retried until acknowledged, sometimes twice.

``workday`` and ``slack`` hand notifications over; they lie in the system's records until the
receiver answers 2xx, so that none is lost with the process. Duplicates come from the fault
list, order from the sender's ``hold`` and ``release``.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, TypeAlias

import aiohttp

from topstitch.foundation.clock import Clock
from topstitch.foundation.ids import random_bytes
from topstitch.foundation.timetext import rfc3339
from topstitch.simulators.faults import WEBHOOK_METHOD, FaultKind, Faults
from topstitch.simulators.state import Json, Records

WAITS_SECONDS: Final = (1, 2, 5, 10, 30, 60, 120, 300)
ANSWER_SECONDS_MAX: Final = 10.0
AT_ONCE: Final = 16
TRIES_MAX: Final = 500
Sign: TypeAlias = Callable[[Json, bytes], Mapping[str, str]]


class WebhookSender:
    """The outbox of one system."""

    def __init__(self, records: Records, clock: Clock, faults: Faults, sign: Sign) -> None:
        self._records = records
        self._clock = clock
        self._faults = faults
        self._sign = sign
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Start sending, first what an earlier process left."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX))
        for notification in self._records.find("_outbox", state="waiting"):
            self._send_soon(notification["id"])

    async def stop(self) -> None:
        """Stop sending; what is not acknowledged stays in the outbox."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session:
            await self._session.close()
            self._session = None

    def put(
        self,
        url: str,
        body: bytes,
        *,
        id_: str = "",
        kind: str = "",
        content_type: str = "application/json",
        tries_max: int = TRIES_MAX,
    ) -> Json:
        """Take over one notification. Without a URL it only lies in the outbox, as ``undeliverable``."""
        id_ = id_ or f"ntf_{random_bytes(10).hex()}"
        state = "waiting" if url else "undeliverable"
        fields: dict[str, Any] = {
            "id": id_,
            "url": url,
            "body": body.decode(),
            "kind": kind,
            "content_type": content_type,
            "state": state,
        }
        fields |= {"tries": [], "tries_max": tries_max, "put_at": rfc3339(self._clock.now())}
        kept = self._records.put("_outbox", id_, fields)
        if url:
            self._send_soon(id_)
        return kept

    def again(self, id_: str) -> None:
        """Deliver a notification once more, as systems do that lost the acknowledgement."""
        self._records.change("_outbox", id_, {"state": "waiting"})
        self._send_soon(id_)

    def all(self) -> list[Json]:
        """Return every notification with its tries."""
        return self._records.all("_outbox")

    async def settled(self, seconds_max: float = 30.0) -> None:
        """Return once nothing is on its way; raise ``TimeoutError`` after ``seconds_max``."""
        async with asyncio.timeout(seconds_max):
            while self._tasks:
                await asyncio.wait(set(self._tasks), return_when=asyncio.ALL_COMPLETED)

    def _send_soon(self, id_: str) -> None:
        if self._session is None:
            return
        task = asyncio.get_running_loop().create_task(self._deliver(id_), name=f"notification {id_}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, id_: str) -> None:
        notification = self._records.get("_outbox", id_)
        if notification is None:
            return
        fault = self._faults.take(WEBHOOK_METHOD, notification["kind"], notification["body"].encode())
        copies = 1 + int(fault.number("copies", 1)) if fault and fault.kind is FaultKind.DUPLICATE_WEBHOOK else 1
        for _ in range(copies):
            await self._until_acknowledged(id_)

    async def _until_acknowledged(self, id_: str) -> None:
        for number in range(TRIES_MAX):
            notification = self._records.get("_outbox", id_)
            if notification is None:
                return
            async with self._slots:
                status = await self._try(notification)
            last = number + 1 >= notification["tries_max"]
            self._note(id_, status, last=last)
            if last or _acknowledged(status):
                return
            wait = WAITS_SECONDS[min(number, len(WAITS_SECONDS) - 1)]
            await self._clock.sleep_until(self._clock.now() + timedelta(seconds=wait))

    async def _try(self, notification: Json) -> int:
        """Return the receiver's status, or 0 if there was none."""
        body = notification["body"].encode()
        headers = {"Content-Type": notification["content_type"], **self._sign(notification, body)}
        try:
            assert self._session is not None
            async with self._session.post(notification["url"], data=body, headers=headers) as answer:
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0

    def _note(self, id_: str, status: int, *, last: bool) -> None:
        notification = self._records.get("_outbox", id_)
        if notification is None:
            return
        tries: list[Any] = [*notification["tries"], {"at": rfc3339(self._clock.now()), "status": status}]
        state = "delivered" if _acknowledged(status) else "given_up" if last else "waiting"
        self._records.change("_outbox", id_, {"tries": tries[-50:], "state": state})


def standard_webhook_headers(id_: str, secret: str, body: bytes, clock: Clock) -> dict[str, str]:
    """Return the headers of Standard Webhooks; ``secret`` is ``whsec_`` and base64."""
    stamp = str(int(clock.now().timestamp()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{id_}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": id_,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _acknowledged(status: int) -> bool:
    return status // 100 == 2
