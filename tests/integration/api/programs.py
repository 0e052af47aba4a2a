"""The API on the seeded story: no sockets, no systems, whoever the test says is asking."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import orjson

from browser.seeded import NOW, Hired
from support.contracts import CONTRACTS
from topstitch import lifecycle
from topstitch.api.hands import ApiHands
from topstitch.api.rest import rest_app
from topstitch.bootstrap.plans import Plans
from topstitch.cli.instance_view import view
from topstitch.cli.tale import Teller
from topstitch.connectors.connections import Connections, ConnectionSettings
from topstitch.connectors.registry import Registry
from topstitch.foundation.clock import SimulatedClock
from topstitch.governance.access import ROLES, Identity
from topstitch.metrics import watch
from topstitch.model.orders import Outcome, Result
from topstitch.store import Store
from topstitch.trigger.accept import Intake

KNOWN = Connections(
    connections={
        "itsm": ConnectionSettings(alias="itsm", connector="servicenow@1", base_url="https://itsm.example"),
        "hris": ConnectionSettings(alias="hris", connector="workday@1", base_url="https://hris.example"),
    }
)
DANA = Identity(id="dana", name="Dana Ortiz", email="dana@acme.example", roles=tuple(ROLES), via="token")


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class NoAudit:
    """An audit trail without keys."""

    async def verify(self) -> dict[str, Any]:
        return {"intact": True}

    async def seal(self) -> None:
        pass


@dataclass
class Programs:
    """Programs that call."""

    store: Store
    hires: Sequence[Hired]
    clock: SimulatedClock = field(default_factory=lambda: SimulatedClock(NOW))
    caller: Identity | None = DANA
    more: dict[str, Any] = field(default_factory=dict)
    keys: Any = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        plans = Plans(self.store, CONTRACTS)
        registry = Registry(KNOWN, self.clock)
        watcher = watch.Watcher(store=self.store, plans=plans)

        async def board(hours: int, slots: int) -> Any:
            return await watch.board(watcher, self.clock.now(), hours=hours, slots=slots)

        async def identify(_connection: Any) -> Identity | None:
            return self.caller

        async def health(_alias: str) -> Outcome:
            return Outcome(result=Result.OK)

        given: dict[str, Any] = {
            "store": self.store,
            "clock": self.clock,
            "load": plans.load,
            "contracts": CONTRACTS,
            "intake": Intake(
                store=self.store, connectors=registry, clock=self.clock, plans=plans.in_force, begin=lifecycle.begin
            ),
            "identify": identify,
            "view": view,
            "teller": lambda plan: Teller(plan).sentence,
            "board": board,
            "auditing": NoAudit(),
            "environment": "prod",
            "connections": KNOWN,
            "health": health,
        }
        self.hands = ApiHands(**{**given, **self.more})
        self.app = rest_app(self.hands)

    def id(self, name: str) -> str:
        """Return the instance of a hire."""
        return next(hire.id for hire in self.hires if hire.state.title == name)

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.call("GET", path, **headers)

    async def post(self, path: str, body: object = None, **headers: str) -> Answer:
        """Post with a fresh key unless one is given; ``Idempotency_Key=""`` sends none."""
        key = headers.pop("key", f"k-{next(self.keys)}")
        given = {**({"idempotency-key": key} if key else {}), **headers}
        return await self.call("POST", path, body, **given)

    async def call(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """Send one request."""
        path, _, query = path.partition("?")
        raw = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        by_cookie = self.caller is not None and self.caller.via == "session"
        given = {
            "host": "api.test",
            **({"content-type": "application/json"} if raw else {}),
            **({"sec-fetch-site": "same-origin"} if by_cookie else {}),
            **headers,
        }
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
            "path": "/api/v1" + path, "raw_path": quote("/api/v1" + path).encode(), "root_path": "/api/v1",
            "query_string": quote(query, safe="=&:+%>*.").encode(), "scheme": "http", "client": ("127.0.0.1", 1),
            "headers": [(k.replace("_", "-").lower().encode(), v.encode()) for k, v in given.items()],
            "server": ("api.test", 80),
        }  # fmt: skip
        received = iter([{"type": "http.request", "body": raw, "more_body": False}])
        sent: list[Any] = []

        async def receive() -> Any:
            return next(received, {"type": "http.disconnect"})

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        start = sent[0]
        found = {k.decode(): v.decode() for k, v in start["headers"]}
        return Answer(start["status"], found, b"".join(m.get("body", b"") for m in sent[1:]))
