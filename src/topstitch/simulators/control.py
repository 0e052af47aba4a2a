"""The control plane under ``/_sim``: look into a simulator, change it behind its callers' backs.

Tests, the drill, the demo and people with curl call it. It is not part of any vendor's
interface, meets no faults and is not journaled.
"""

from __future__ import annotations

from typing import Any, Protocol

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from topstitch.foundation.ids import random_bytes
from topstitch.simulators.faults import FaultFormError, Faults
from topstitch.simulators.state import Json, Records
from topstitch.simulators.throttle import Throttle


class Controlled(Protocol):
    """What the control plane needs of a simulator."""

    records: Records
    faults: Faults
    throttle: Throttle

    @property
    def system(self) -> str:
        """Its name."""
        ...

    @property
    def settings(self) -> Json:
        """Its settings."""
        ...

    def configure(self, fields: Json) -> Json:
        """Change settings."""
        ...

    def reset(self) -> None:
        """Forget everything and seed again."""
        ...

    def now_text(self) -> str:
        """Return its present."""
        ...

    def counts(self) -> dict[str, int]:
        """Return how many records there are."""
        ...

    def forget_tokens(self) -> None:
        """Make every token worthless."""
        ...

    def due(self) -> None:
        """Let time take effect."""
        ...

    def job(self, id_: str) -> Json | None:
        """Return a postponed call."""
        ...


def routes(simulator: Controlled) -> list[Route]:
    """Return the addresses of the control plane."""
    plane = _Plane(simulator)
    return [
        Route("/_sim/state", plane.state, methods=["GET"]),
        Route("/_sim/reset", plane.reset, methods=["POST"]),
        Route("/_sim/journal", plane.journal, methods=["GET"]),
        Route("/_sim/settings", plane.show_settings, methods=["GET"]),
        Route("/_sim/settings", plane.change_settings, methods=["PATCH", "POST"]),
        Route("/_sim/faults", plane.list_faults, methods=["GET"]),
        Route("/_sim/faults", plane.add_faults, methods=["POST"]),
        Route("/_sim/faults", plane.clear_faults, methods=["DELETE"]),
        Route("/_sim/tokens", plane.forget_tokens, methods=["DELETE"]),
        Route("/_sim/throttle", plane.consume, methods=["POST"]),
        Route("/_sim/jobs/{id}", plane.job, methods=["GET"]),
        Route("/_sim/records/{kind}", plane.list_records, methods=["GET"]),
        Route("/_sim/records/{kind}", plane.create_record, methods=["POST"]),
        Route("/_sim/records/{kind}/{id}", plane.show_record, methods=["GET"]),
        Route("/_sim/records/{kind}/{id}", plane.change_record, methods=["POST", "PATCH"]),
        Route("/_sim/records/{kind}/{id}", plane.delete_record, methods=["DELETE"]),
    ]


def reply(document: Any, status: int = 200) -> Response:
    """Return a document as JSON."""
    return Response(orjson.dumps(document), status, media_type="application/json")


async def document(request: Request) -> Any:
    """Return the request's JSON; an empty mapping if it has none."""
    body = await request.body()
    try:
        return orjson.loads(body) if body else {}
    except orjson.JSONDecodeError:
        return {}


class _Plane:
    """The handlers for one simulator."""

    def __init__(self, simulator: Controlled) -> None:
        self._simulator = simulator
        self._records = simulator.records

    async def state(self, _request: Request) -> Response:
        with self._records.store.transaction():
            self._simulator.due()
        records = {kind: self._records.all(kind) for kind in self._records.kinds()}
        return reply(
            {
                "system": self._simulator.system,
                "now": self._simulator.now_text(),
                "counts": self._simulator.counts(),
                "settings": self._simulator.settings,
                "faults": [fault.described() for fault in self._simulator.faults.entries],
                "records": records,
            }
        )

    async def reset(self, _request: Request) -> Response:
        self._simulator.reset()
        return reply({"reset": True})

    async def journal(self, request: Request) -> Response:
        since = request.query_params.get("since", "0")
        return reply(self._records.store.calls(self._simulator.system, int(since) if since.isdigit() else 0))

    async def show_settings(self, _request: Request) -> Response:
        return reply(self._simulator.settings)

    async def change_settings(self, request: Request) -> Response:
        return reply(self._simulator.configure(await document(request)))

    async def list_faults(self, _request: Request) -> Response:
        return reply([fault.described() for fault in self._simulator.faults.entries])

    async def add_faults(self, request: Request) -> Response:
        asked = await document(request)
        try:
            added = [self._simulator.faults.add(one) for one in (asked if isinstance(asked, list) else [asked])]
        except FaultFormError as error:
            return reply({"error": str(error)}, 400)
        return reply([fault.described() for fault in added], 201)

    async def clear_faults(self, _request: Request) -> Response:
        self._simulator.faults.clear()
        return reply([])

    async def forget_tokens(self, _request: Request) -> Response:
        self._simulator.forget_tokens()
        return reply({"forgotten": True})

    async def consume(self, request: Request) -> Response:
        asked = await document(request)
        self._simulator.throttle.consume(self._simulator.settings.get("throttle"), int(asked.get("calls", 1)))
        return reply({"consumed": asked.get("calls", 1)})

    async def job(self, request: Request) -> Response:
        job = self._simulator.job(request.path_params["id"])
        return reply(job, 200) if job else _missing("job")

    async def list_records(self, request: Request) -> Response:
        return reply(self._records.all(request.path_params["kind"]))

    async def create_record(self, request: Request) -> Response:
        fields = await document(request)
        id_ = str(fields.get("id") or fields.get("Id") or fields.get("sys_id") or random_bytes(16).hex())
        return reply(self._records.put(request.path_params["kind"], id_, {"id": id_, **fields}), 201)

    async def show_record(self, request: Request) -> Response:
        record = self._records.get(request.path_params["kind"], request.path_params["id"])
        return reply(record) if record is not None else _missing("record")

    async def change_record(self, request: Request) -> Response:
        kind, id_ = request.path_params["kind"], request.path_params["id"]
        if self._records.get(kind, id_) is None:
            return _missing("record")
        return reply(self._records.change(kind, id_, await document(request)))

    async def delete_record(self, request: Request) -> Response:
        self._records.delete(request.path_params["kind"], request.path_params["id"])
        return Response(status_code=204)


def _missing(what: str) -> Response:
    return reply({"error": f"there is no such {what}; GET /_sim/state lists what there is"}, 404)
