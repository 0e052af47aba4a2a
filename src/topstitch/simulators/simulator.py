"""What all simulators share: one call is one transaction, journaled, and may meet a fault.

``Simulator`` is the base of the vendors' classes. It reads the request, asks the fault list,
checks throttle and token, lets the handler act inside one transaction that also writes the
journal, and sends the answer, unless a fault says that the connection breaks first. It
knows no vendor: bodies of errors, headers and tokens come from the subclass.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, compile_path

from topstitch.foundation.clock import Clock, SystemClock
from topstitch.foundation.ids import random_bytes
from topstitch.foundation.timetext import rfc3339
from topstitch.simulators import control, mangle
from topstitch.simulators.faults import Fault, FaultKind, Faults
from topstitch.simulators.state import Json, Records, Store
from topstitch.simulators.throttle import Throttle
from topstitch.simulators.wire import Answer, Call, Endpoint, Refusal

HOLD_SECONDS_MAX: Final = 300.0
JOURNAL_BODY_MAX: Final = 20_000
ABORT: Final = "topstitch.abort"
"""Where ``host`` puts, in the ASGI scope's extensions, the function that breaks the connection."""
_SECRETS: Final = re.compile(
    r"((?:client_secret|password|wsse:Password[^>]*|assertion|refresh_token|token)(?:\"\s*:\s*\"|=|>))[^\"&<]+",
    re.IGNORECASE,
)


class Simulator:
    """One simulated system: state, faults, and the ASGI application ``app``."""

    system: ClassVar[str] = ""
    defaults: ClassVar[Json] = {}
    published: ClassVar[tuple[str, ...]] = ()
    """The settings that a connection needs to know."""

    def __init__(
        self, *, store: Store | None = None, clock: Clock | None = None, settings: Json | None = None, seed: bool = True
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.records = Records(store or Store(), self.system, self.clock)
        self.faults = Faults(self.clock)
        self.throttle = Throttle(self.clock)
        self.base_url = ""
        self.stopping = asyncio.Event()
        self._asked = dict(settings or {})
        self._with_seed = seed
        if self.records.get("_settings", "settings") is None:
            self.reset()
        self._endpoints = self.endpoints()
        routes = [*control.routes(self), *self.pages(), *map(self._route, self._endpoints), *self._leftovers()]
        self.app = Starlette(routes=routes, lifespan=self._lifespan)
        self.app.state.simulator = self

    # What a vendor says for itself

    def endpoints(self) -> list[Endpoint]:
        """Return the vendor's addresses."""
        return []

    def pages(self) -> list[BaseRoute]:
        """Return routes that are no vendor calls: a page for people, a websocket, more of the control plane."""
        return []

    def seed(self) -> None:
        """Fill an empty system with the company's data."""

    def error(self, status: int, code: str = "", message: str = "") -> Answer:
        """Return an error in the vendor's own form; with only a status, its usual one."""
        return Answer(status, {"error": code or str(status), "message": message})

    def throttled(self, retry_after: int) -> Answer:
        """Return the vendor's "slow down"."""
        answer = self.error(429)
        answer.headers["Retry-After"] = str(retry_after)
        return answer

    def authenticate(self, call: Call) -> None:
        """Raise ``Refusal`` unless the call carries a token that is good."""

    def is_write(self, call: Call) -> bool:
        """Say whether a call is meant to change something."""
        return call.method not in {"GET", "HEAD", "OPTIONS"}

    def key_of(self, call: Call) -> str:
        """Return the caller's idempotency or correlation key, wherever this vendor's callers put it."""
        return call.headers.get("idempotency-key", "")

    def decorate(self, call: Call, answer: Answer) -> None:
        """Add the vendor's usual headers."""

    def due(self) -> None:
        """Let happen what time alone brings about (a request fulfilled, a hire who starts)."""

    def facts(self) -> dict[str, Any]:
        """Return what a connection needs: the URL, and client, secrets or ports."""
        return {"base_url": self.base_url, **{name: self.settings[name] for name in self.published}}

    async def start(self) -> None:
        """Start what runs beside the calls (webhooks, a mail server)."""

    async def stop(self) -> None:
        """Stop it."""

    # Settings and state

    @property
    def settings(self) -> Json:
        """The settings as they stand: defaults, then what was asked for, then what was changed."""
        return self.records.get("_settings", "settings") or {}

    def configure(self, fields: Json) -> Json:
        """Change settings."""
        return self.records.change("_settings", "settings", fields)

    def reset(self) -> None:
        """Forget everything and seed again."""
        with self.records.store.transaction():
            self.records.clear()
            self.records.put("_settings", "settings", {"consistency_seconds": 0, **self.defaults, **self._asked})
            if self._with_seed:
                self.seed()
        self.faults.clear()

    def now_text(self) -> str:
        """Return the present as RFC 3339."""
        return rfc3339(self.clock.now())

    def counts(self) -> dict[str, int]:
        """Return how many records of each kind there are."""
        return {kind: len(self.records.all(kind)) for kind in self.records.kinds()}

    def forget_tokens(self) -> None:
        """Make every token given out worthless."""
        for token in self.records.all("_tokens"):
            self.records.delete("_tokens", token["id"])

    # One call

    def perform(self, call: Call, endpoint: Endpoint, fault: Fault | None = None) -> Answer:
        """Carry one call out in one transaction, with its entry in the journal."""
        with self.records.store.transaction():
            self.due()
            self._run_due_jobs()
            if fault and fault.kind is FaultKind.TOKEN_EXPIRED:
                self.forget_tokens()
            answer, committed = self._act(call, endpoint, fault)
            answer = mangle.after(self, fault, answer)
            self.decorate(call, answer)
            self._journal(call, answer.status, committed=committed, fault=fault)
        return answer

    def _act(self, call: Call, endpoint: Endpoint, fault: Fault | None) -> tuple[Answer, bool]:
        """Return the answer and whether business records changed."""
        refusal = mangle.instead(self, fault)
        if refusal is not None:
            return refusal, False
        try:
            with self.records.store.transaction() as change:
                self._admit(call, endpoint)
                if fault and fault.kind is FaultKind.ACCEPTED_LATER:
                    return self._postpone(call, fault), False
                with self.records.lagging(self._horizon(call, fault)):
                    answer = endpoint.handler(call)
                if fault and fault.kind is FaultKind.ACCEPT_STORE_NOTHING:
                    raise Refusal(answer)
                return answer, change.effects > 0
        except Refusal as refused:
            return refused.answer, False
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return self.error(400, message=f"The request cannot be read: {error!r}"), False

    def _admit(self, call: Call, endpoint: Endpoint) -> None:
        if endpoint.open:
            return
        self.authenticate(call)
        wait = self.throttle.wait(self.settings.get("throttle"), call.bearer())
        if wait:
            raise Refusal(self.throttled(wait))

    def _horizon(self, call: Call, fault: Fault | None) -> datetime | None:
        """Return the moment whose state a read may see at most; nothing means the present."""
        if self.is_write(call):
            return None
        now = self.clock.now()
        if fault and fault.kind is FaultKind.STALE_READ:
            return now - timedelta(seconds=fault.number("seconds", 365 * 86400))
        lag = float(self.settings.get("consistency_seconds") or 0)
        return now - timedelta(seconds=lag) if lag else None

    # The request around the call

    def _route(self, endpoint: Endpoint) -> Route:
        async def answer(request: Request) -> Response:
            return await self._serve(request, endpoint)

        return Route(endpoint.path, answer, methods=[endpoint.method])

    def _leftovers(self) -> list[Route]:
        """Answer unknown addresses in the vendor's own form."""
        methods = ("GET", "POST", "PUT", "PATCH", "DELETE")
        return [self._route(Endpoint(m, "/{rest:path}", self._unknown_address)) for m in methods]

    def _unknown_address(self, _call: Call) -> Answer:
        return self.error(404)

    async def _serve(self, request: Request, endpoint: Endpoint) -> Response:
        call = await _read(request)
        self.base_url = self.base_url or call.base_url
        is_write = self.is_write(call) and not endpoint.open
        path = f"{call.path}?{call.query_text}" if call.query_text else call.path
        answer = await self._meet(
            request, call, endpoint, self.faults.take(call.method, path, call.body, is_write=is_write)
        )
        if answer is None:
            await _break(request)
            return Response(status_code=502)
        return Response(answer.payload(), answer.status, answer.headers, None if answer.body is None else answer.media)

    async def _meet(self, request: Request, call: Call, endpoint: Endpoint, fault: Fault | None) -> Answer | None:
        """Perform a call under a fault; nothing means that the connection breaks."""
        match fault.kind if fault else None:
            case FaultKind.DOWN:
                self._journal(call, 0, committed=False, fault=fault)
                return None
            case FaultKind.TIMEOUT_BEFORE:
                self._journal(call, 0, committed=False, fault=fault)
                await self._hold(request)
                return None
            case FaultKind.TIMEOUT_AFTER_COMMIT:
                self.perform(call, endpoint, fault)
                await self._hold(request)
                return None
            case FaultKind.DROP_AFTER_COMMIT:
                self.perform(call, endpoint, fault)
                return None
            case FaultKind.SLOW if fault:
                await self.clock.sleep_until(self.clock.now() + timedelta(seconds=fault.number("seconds", 1)))
        return self.perform(call, endpoint, fault)

    async def _hold(self, request: Request) -> None:
        """Keep the caller waiting until it gives up, the simulator stops, or the bound is reached."""
        gone = asyncio.ensure_future(request.receive())
        stopped = asyncio.ensure_future(self.stopping.wait())
        await asyncio.wait({gone, stopped}, timeout=HOLD_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED)
        for waiting in (gone, stopped):
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting

    def _journal(self, call: Call, status: int, *, committed: bool, fault: Fault | None) -> None:
        body = _SECRETS.sub(r"\1***", call.body.decode("utf-8", "replace"))[:JOURNAL_BODY_MAX]
        self.records.store.append_call(
            self.system,
            {
                "at": self.now_text(),
                "method": call.method,
                "path": call.path,
                "query": call.query_text,
                "status": status,
                "key": self.key_of(call),
                "trace": call.headers.get("traceparent"),
                "state": call.headers.get("tracestate"),
                "write": self.is_write(call),
                "committed": committed,
                "fault": fault.kind.value if fault else None,
                "body": body,
            },
        )

    # Calls that are carried out later

    def _postpone(self, call: Call, fault: Fault) -> Answer:
        job = random_bytes(8).hex()
        due = rfc3339(self.clock.now() + timedelta(seconds=fault.number("seconds", 30)))
        kept: dict[str, object] = {
            "method": call.method,
            "path": call.path,
            "body": call.body.decode("utf-8", "replace"),
        }
        kept |= {"query": dict(call.query), "headers": dict(call.headers)}
        self.records.put("_jobs", job, {"id": job, "status": "running", "due": due, "call": kept})
        headers = {"Location": f"{call.base_url}/_sim/jobs/{job}", "Retry-After": "5"}
        return Answer(202, {"id": job, "status": "running"}, headers)

    def job(self, id_: str) -> Json | None:
        """Return a postponed call's status and, once done, its result."""
        with self.records.store.transaction():
            self._run_due_jobs()
        job = self.records.get("_jobs", id_)
        return job and {name: job[name] for name in ("id", "status", "code", "result") if name in job}

    def _run_due_jobs(self) -> None:
        for job in self.records.find("_jobs", status="running"):
            if job["due"] <= self.now_text():
                answer = self._replay(job["call"])
                done = {"status": "succeeded" if answer.status < 400 else "failed"}
                self.records.change("_jobs", job["id"], {**done, "code": answer.status, "result": answer.body})

    def _replay(self, kept: Json) -> Answer:
        for endpoint in self._endpoints:
            found = compile_path(endpoint.path)[0].match(kept["path"])
            if found and endpoint.method == kept["method"]:
                call = Call(**{**kept, "body": kept["body"].encode(), "params": found.groupdict()})
                opened = Endpoint(endpoint.method, endpoint.path, endpoint.handler, open=True)
                return self._act(call, opened, None)[0]
        return self.error(404)

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        self.stopping.clear()
        await self.start()
        try:
            yield
        finally:
            self.stopping.set()
            await self.stop()


async def _read(request: Request) -> Call:
    return Call(
        method=request.method,
        path=request.url.path,
        params=dict(request.path_params),
        query=dict(request.query_params),
        query_text=request.url.query,
        headers=dict(request.headers),
        body=await request.body(),
        base_url=str(request.base_url).rstrip("/"),
    )


async def _break(request: Request) -> None:
    """Close the connection without an answer; raise when nobody gave us the means (no real socket)."""
    abort = request.scope.get("extensions", {}).get(ABORT, {}).get("abort")
    if abort is None:
        raise ConnectionResetError(
            "the simulator broke the connection; serve it through simulators.host to see it on a socket"
        )
    abort()
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            await request.receive()
