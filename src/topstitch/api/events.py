"""Takes events over HTTP: CloudEvents at ``/api/v1/events``, vendors' webhooks at ``/hooks/<name>``.

The raw body is read up to a limit and handed to the trigger; the answer goes out after the
commit. A new event is answered 202, a repeated one 200 with the first outcome.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from topstitch.api.problems import answer, problem
from topstitch.foundation.errors import RequestError
from topstitch.trigger import cloudevents
from topstitch.trigger.accept import Delivery, Intake, Verdict, accept_batch, accept_cloud_event, accept_hook

EVENTS = "/api/v1/events"
HOOKS = "/hooks/{name}"


def routes(intake: Intake, body_bytes_max: int) -> list[Route]:
    """Return the addresses that take events."""
    door = _Door(intake, body_bytes_max)
    return [Route(EVENTS, door.events, methods=["POST"]), Route(HOOKS, door.hook, methods=["POST"])]


class _Door:
    def __init__(self, intake: Intake, body_bytes_max: int) -> None:
        self._intake = intake
        self._body_bytes_max = body_bytes_max

    async def events(self, request: Request) -> Response:
        """Take one CloudEvent, or a batch of them."""
        delivery = await self._delivery(request, "events")
        if cloudevents.is_batch(delivery.headers):
            return _batch(await accept_batch(self._intake, delivery), request.url.path)
        return _one(await accept_cloud_event(self._intake, delivery))

    async def hook(self, request: Request) -> Response:
        """Take a vendor's notification."""
        name = request.path_params["name"]
        return _one(await accept_hook(self._intake, name, await self._delivery(request, f"hooks/{name}")))

    async def _delivery(self, request: Request, door: str) -> Delivery:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._body_bytes_max:
                message = f"the body is larger than {self._body_bytes_max // 1024} KB; send less, or raise body_kb_max"
                raise RequestError("too-large", message)
        headers = {name.lower(): value for name, value in request.headers.items()}
        return Delivery(door=door, body=bytes(body), headers=headers)


def _one(verdict: Verdict) -> Response:
    headers = {"Location": f"/api/v1/instances/{verdict.instances[0]}"} if verdict.instances else None
    return answer(verdict.document(), 202 if verdict.first else 200, headers)


def _batch(verdicts: list[Verdict | RequestError], at: str) -> Response:
    """Answer event by event, in the order of the batch."""
    items: list[dict[str, Any]] = []
    for verdict in verdicts:
        if isinstance(verdict, Verdict):
            items.append({"status": 202 if verdict.first else 200, **verdict.document()})
        else:
            refused = problem(verdict, at)
            items.append({"status": refused["status"], "problem": refused})
    refused_some = any("problem" in item for item in items)
    return answer({"items": items}, 207 if refused_some else 202)
